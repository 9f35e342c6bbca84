//! qcow2 images, by the crate imago. What a file says of itself is checked before imago sees it.

mod header;
mod identity;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imago::file::File as ImagoFile;
use imago::format::PreallocateMode;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder, ShallowMapping,
};
use ringer_machine::backend::{BackendError, BackendResult, BlockBackend};

use super::image_file::ImageFile;
use super::{DiskError, SECTOR};
pub use header::{Backing, Header};
pub use identity::BaseIdentity;

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// An image with all that it stands on, as imago knows it.
pub type Layers = FormatAccess<ImagoFile>;

/// A qcow2 image, shared between the device that uses it and whoever saves the machine.
#[derive(Clone)]
pub struct Qcow2Disk {
    /// Nothing is there any more after imago has panicked.
    image: Arc<Mutex<Option<Layers>>>,
    len: u64,
    read_only: bool,
}

/// What an image itself has, apart from its base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing: the base shows.
    Base,
    /// Zeroes.
    Zeroes,
    /// Bytes, which reading the disk gives.
    Data,
}

/// Calls into imago. A damaged image may make it panic; that is an error of the image.
fn contained<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(io::Error::other("its tables contradict each other")))
}

fn imago_file(image: ImageFile) -> Result<ImagoFile, DiskError> {
    let path = image.path;
    ImagoFile::try_from(image.file).map_err(|error| DiskError::unusable(&path, error))
}

/// A raw image as something that a qcow2 image stands on.
pub fn raw_layer(image: ImageFile) -> Result<Layers, DiskError> {
    let path = image.path.clone();
    let file = imago_file(image)?;
    contained(|| Raw::builder(file).open(DenyImplicitOpenGate::default()))
        .map(FormatAccess::new)
        .map_err(|error| DiskError::damaged(&path, error))
}

/// A qcow2 image, whose header was checked, on what is below it.
pub fn qcow2_layer(
    image: ImageFile,
    below: Option<Layers>,
    read_only: bool,
) -> Result<Layers, DiskError> {
    let path = image.path.clone();
    let file = imago_file(image)?;
    let open = || {
        Qcow2::<ImagoFile>::builder(file)
            .backing(below)
            .data_file(None)
            .write(!read_only)
            .open(DenyImplicitOpenGate::default())
    };
    contained(open)
        .map(FormatAccess::new)
        .map_err(|error| DiskError::damaged(&path, error))
}

/// Makes an empty image in an empty file.
pub fn format_file(file: std::fs::File, size: u64, backing: Option<&Backing>) -> io::Result<()> {
    let image = ImagoFile::try_from(file.try_clone()?)?;
    contained(|| {
        Qcow2::<ImagoFile>::create_builder(image)
            .size(size)
            .create()
    })?;
    if let Some(backing) = backing {
        write_backing(&file, backing)?;
    }
    file.sync_all()
}

/// Writes into an image's header what it stands on.
pub fn write_backing(file: &std::fs::File, backing: &Backing) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let bytes = Header::read(file, file.metadata()?.len())
        .and_then(|header| header.on(backing))
        .map_err(io::Error::other)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()
}

impl Qcow2Disk {
    /// A disk on these layers.
    pub fn new(path: &Path, layers: Layers, read_only: bool) -> Result<Self, DiskError> {
        let len = layers.size();
        if len < SECTOR {
            return Err(DiskError::unusable(
                path,
                format_args!(
                    "its disk has {len} bytes, less than one sector; make it larger with `ringer image resize`"
                ),
            ));
        }
        Ok(Self {
            image: Arc::new(Mutex::new(Some(layers))),
            len,
            read_only,
        })
    }
    fn image(&self) -> MutexGuard<'_, Option<Layers>> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Calls into imago with the image. When that panics, what it holds is not to be trusted,
    /// so the image is given up: nothing of it is written any more.
    fn with<T>(&self, act: impl FnOnce(&mut Layers) -> io::Result<T>) -> io::Result<T> {
        let mut place = self.image();
        let image = place
            .as_mut()
            .ok_or_else(|| io::Error::other("the image was given up"))?;
        match catch_unwind(AssertUnwindSafe(|| act(image))) {
            Ok(result) => result,
            Err(_) => {
                std::mem::forget(place.take());
                Err(io::Error::other("its tables contradict each other"))
            }
        }
    }
    fn do_backend(&self, act: impl FnOnce(&mut Layers) -> io::Result<()>) -> BackendResult {
        self.with(act).map_err(|_| BackendError)
    }
    fn check(&self, offset: u64, len: u64) -> BackendResult {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(BackendError),
        }
    }
    fn check_write(&self, offset: u64, len: u64) -> BackendResult {
        match self.read_only {
            true => Err(BackendError),
            false => self.check(offset, len),
        }
    }
    /// Writes what is cached of the image's tables, and makes all of it durable.
    pub fn write_back(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.with(|image| {
            image.flush()?;
            image.sync()
        })
    }
    /// What the image itself has at `offset`, and for how many bytes, at most `len`.
    pub fn content(&self, offset: u64, len: u64) -> io::Result<(Content, u64)> {
        self.with(|image| {
            let (mapping, len) = image.get_shallow_mapping(offset, len)?;
            let content = match mapping {
                ShallowMapping::Zero { explicit: true, .. } => Content::Zeroes,
                ShallowMapping::Zero { .. }
                | ShallowMapping::Indirect { .. }
                | ShallowMapping::Eof { .. } => Content::Base,
                _ => Content::Data,
            };
            Ok((content, len))
        })
    }
    /// Gives the disk another size. What is cut off is lost.
    pub fn resize(&mut self, size: u64) -> io::Result<()> {
        self.with(|image| image.resize(size, PreallocateMode::None))?;
        self.len = size;
        self.write_back()
    }
}

impl BlockBackend for Qcow2Disk {
    fn len(&self) -> u64 {
        self.len
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        self.check(offset, into.len() as u64)?;
        self.do_backend(|image| image.read(into, offset))
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        self.check_write(offset, from.len() as u64)?;
        self.do_backend(|image| image.write(from, offset))
    }
    fn flush(&mut self) -> BackendResult {
        self.write_back().map_err(|_| BackendError)
    }
    fn discard(&mut self, offset: u64, len: u64) -> BackendResult {
        self.check_write(offset, len)?;
        self.do_backend(|image| match image.discard_to_any(offset, len) {
            // Images of version 2 know no clusters that read as zero, and need not forget any.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => result,
        })
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> BackendResult {
        self.check_write(offset, len)?;
        self.do_backend(|image| {
            let result = match may_unmap {
                true => image.discard_to_zero(offset, len),
                false => image.write_zeroes(offset, len),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    write_plain_zeroes(image, offset, len)
                }
                result => result,
            }
        })
    }
}

/// Writes zeroes as any other bytes, into images of version 2.
fn write_plain_zeroes(image: &Layers, mut offset: u64, len: u64) -> io::Result<()> {
    let end = offset + len;
    while offset < end {
        let count = (end - offset).min(ZEROES.len() as u64);
        image.write(ZEROES.get(..count as usize).unwrap_or_default(), offset)?;
        offset += count;
    }
    Ok(())
}
