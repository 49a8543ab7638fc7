//! placeholder
use super::OnlineStore;
use crate::store::{StoreError, StoreOptions};
use std::sync::Arc;
pub(super) fn open(_options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    Err(StoreError(String::new()))
}
