//! The explorer at `/docs/`, where people read and try the API: Swagger UI, from files in the binary itself.

mod swagger_ui;

pub use self::swagger_ui::explorer;
