//! stub
use protocol::time::Now;
use super::*;
/// stub
#[derive(Debug)] pub struct Keeper;
impl Keeper {
    /// stub
    pub fn new(_: KeeperSettings, _: u64) -> Self { Self }
    /// stub
    pub fn handle(&mut self, _: Now, _: KeeperCompletion) {}
    /// stub
    pub fn poll_operation(&mut self) -> Option<KeeperOperation> { None }
    /// stub
    pub fn deadline(&self) -> Option<u64> { None }
}
