//! Writes a file into a [`FileStore`] while it comes: part by part, one transaction each.

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::file_store::{FileStore, PART_BYTES};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Db, Tx};

/// A file that is there.
#[derive(Clone, Copy, Debug)]
pub struct WrittenFile {
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
}

/// A file that is being written. What breaks off leaves parts, which a task of their table's owner clears away.
pub struct FileWriter<'a> {
    db: &'a Db,
    tenant: &'a Tenant,
    store: &'static FileStore,
    file: Uuid,
    part: BytesMut,
    number: usize,
    bytes: u64,
    digest: Sha256,
}

impl<'a> FileWriter<'a> {
    pub fn new(db: &'a Db, tenant: &'a Tenant, store: &'static FileStore, file: Uuid) -> Self {
        let part = BytesMut::with_capacity(PART_BYTES);
        Self { db, tenant, store, file, part, number: 0, bytes: 0, digest: Sha256::new() }
    }

    /// Adds what came next, of any length.
    pub async fn write(&mut self, mut piece: &[u8]) -> Result<()> {
        self.bytes += piece.len() as u64;
        self.digest.update(piece);
        while self.part.len() + piece.len() >= PART_BYTES {
            let (now, later) = piece.split_at(PART_BYTES - self.part.len());
            self.part.extend_from_slice(now);
            self.keep().await?;
            piece = later;
        }
        self.part.extend_from_slice(piece);
        Ok(())
    }

    /// Writes the rest.
    pub async fn finish(mut self) -> Result<WrittenFile> {
        if !self.part.is_empty() {
            self.keep().await?;
        }
        Ok(WrittenFile { bytes: self.bytes, sha256: self.digest.finalize().into() })
    }

    async fn keep(&mut self) -> Result<()> {
        let (tenant, store, file, number) = (self.tenant.clone(), self.store, self.file, self.number);
        let data = self.part.split().to_vec();
        let keep = move |tx: &mut Tx<'_>| store.keep(tx, &tenant, file, number, data.clone());
        self.db.for_tenant(self.tenant).write("file_part", keep).await?;
        self.number += 1;
        Ok(())
    }
}
