use crate::error::*;
use crate::fs::file::*;
use crate::mm::IovSource;
use ::alloc::sync::Arc;
struct C;
impl FileOps for C {
    fn write(&self, _: &OpenFile, src: &mut IovSource<'_>, _: Option<u64>) -> Result<usize> {
        let mut b = [0u8; 512];
        let n = src.take(&mut b)?;
        crate::host::write_stderr(&b[..n]);
        Ok(n)
    }
}
pub fn open_console(f: OpenFlags) -> Result<Arc<OpenFile>> {
    Ok(OpenFile::anonymous(Arc::new(C), f))
}
