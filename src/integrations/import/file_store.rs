//! Where uploaded files are kept until their import is over.

use crate::http::file_store::FileStore;

pub static IMPORT_FILES: FileStore = FileStore {
    insert: "INSERT INTO import_chunks (business_id, id, import_id, number, data) VALUES (",
    table: "import_chunks",
    owner: "import_id",
    unowned: "NOT EXISTS (SELECT FROM imports i WHERE i.business_id = import_chunks.business_id AND i.id = import_chunks.import_id)",
};
