//! What a customer sees of who reads: that their message was read. `read_receipts` queues and claims, the task `sender` sends; `newest_message`
//! selects the message that is marked.

mod newest_message;
pub mod read_receipts;
pub mod sender;
