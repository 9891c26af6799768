//! What a customer sees of who reads and writes: that their message was read (`read_receipts` queues and claims, the task `sender` sends), and
//! that an answer is being written (`typing_indicator`). `newest_message` selects the message that either is about.

mod newest_message;
pub mod read_receipts;
pub mod sender;
pub mod typing_indicator;
