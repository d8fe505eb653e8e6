//! Taking a handle apart and putting a forged one together (§10.13).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The 65 bytes behind a handle.
#[derive(Clone, Debug)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    pub fn of(handle: &str) -> Self {
        let body = handle
            .strip_prefix("ffh1.")
            .expect("a handle starts with ffh1.");
        assert_eq!(body.len() + 5, 92, "a handle has 92 characters");
        let bytes = URL_SAFE_NO_PAD.decode(body).expect("unpadded base64url");
        assert_eq!(bytes.len(), 65);
        Self(bytes)
    }

    pub fn text(&self) -> String {
        format!("ffh1.{}", URL_SAFE_NO_PAD.encode(&self.0))
    }

    pub fn kind(&self) -> u8 {
        self.0[0]
    }

    pub fn with_kind(mut self, kind: u8) -> Self {
        self.0[0] = kind;
        self
    }

    pub fn of_another_installation(mut self) -> Self {
        self.0[1] ^= 0x5a;
        self
    }

    pub fn execution(&self) -> uuid::Uuid {
        uuid::Uuid::from_slice(&self.0[5..21]).expect("16 bytes")
    }

    pub fn with_execution(mut self, id: uuid::Uuid) -> Self {
        self.0[5..21].copy_from_slice(id.as_bytes());
        self
    }

    pub fn attempt_index(&self) -> u32 {
        u32::from_be_bytes(self.0[21..25].try_into().expect("4 bytes"))
    }

    pub fn with_attempt_index(mut self, index: u32) -> Self {
        self.0[21..25].copy_from_slice(&index.to_be_bytes());
        self
    }

    pub fn attempt(&self) -> uuid::Uuid {
        uuid::Uuid::from_slice(&self.0[25..41]).expect("16 bytes")
    }

    pub fn lease(&self) -> uuid::Uuid {
        uuid::Uuid::from_slice(&self.0[41..57]).expect("16 bytes")
    }

    pub fn with_another_lease(mut self) -> Self {
        self.0[41] ^= 0x5a;
        self
    }

    pub fn epoch(&self) -> u64 {
        u64::from_be_bytes(self.0[57..65].try_into().expect("8 bytes"))
    }

    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.0[57..65].copy_from_slice(&epoch.to_be_bytes());
        self
    }
}
