//! What is asked of a stream: done at once, or written down to become part of a graph.

use crate::abi::Address;
use crate::failure::{check_raw, or_with_room};
use crate::kernels::{Function, Grid};
use crate::memory::Pool;
use crate::products::Multiplication;
use crate::quick::Quick;
use crate::stream::Stream;
use core::ffi::c_void;
use core::hash::{Hash, Hasher};
use core::ops::Range;
use cust::sys;
use mfm_core::Result;

/// A copy from pinned host memory to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The address on the host, where the numbers are kept until the copy is done.
    pub from: usize,
    pub to: Address,
    pub bytes: usize,
}

impl Upload {
    pub fn source(&self) -> *const c_void {
        core::ptr::with_exposed_provenance(self.from)
    }
}

/// A piece of work, kept in a list.
enum Item {
    Kernel { function: Function, grid: Grid, arguments: Range<usize> },
    Upload(Upload),
    Product(Multiplication),
}

/// A piece of work.
#[derive(PartialEq)]
pub(crate) enum Piece<'a> {
    Kernel { function: Function, grid: Grid, arguments: &'a [u64] },
    Upload(Upload),
    Product(&'a Multiplication),
}

impl Piece<'_> {
    /// Queues it.
    pub fn start(&self, op: &'static str, stream: &Stream) -> Result<()> {
        match self {
            Self::Kernel { function, grid, arguments } => function.launch(op, stream, *grid, arguments),
            Self::Upload(upload) => {
                // SAFETY: there is room for them, and the source is kept until the copy is done.
                check_raw(op, unsafe { sys::cuMemcpyHtoDAsync_v2(upload.to, upload.source(), upload.bytes, stream.as_inner()) })
            }
            Self::Product(product) => product.multiply(op, stream),
        }
    }

    /// Whether it equals the other up to numbers, sizes and addresses of kernels and copies. Of products nothing is changed in a graph: what the library does
    /// for them is not known, and drivers are reported to do other work after such changes.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kernel { function: a, .. }, Self::Kernel { function: b, .. }) => a == b,
            (Self::Upload(a), Self::Upload(b)) => a.bytes == b.bytes,
            (Self::Product(a), Self::Product(b)) => a == b,
            _ => false,
        }
    }
}

/// Work in its order.
#[derive(Default)]
pub(crate) struct List {
    items: Vec<Item>,
    /// The arguments of the kernels, one after another.
    words: Vec<u64>,
    /// Of the kinds of work, in order.
    signature: Quick,
}

impl List {
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: &Piece<'_>) {
        self.items.push(match *piece {
            Piece::Kernel { function, grid, arguments } => {
                function.hash(&mut self.signature);
                let start = self.words.len();
                self.words.extend_from_slice(arguments);
                Item::Kernel { function, grid, arguments: start..self.words.len() }
            }
            Piece::Upload(upload) => {
                upload.bytes.hash(&mut self.signature);
                Item::Upload(upload)
            }
            Piece::Product(product) => {
                product.plan_number().hash(&mut self.signature);
                Item::Product(product.clone())
            }
        });
    }

    /// Lists of one signature can be expected to differ in numbers, sizes and addresses alone.
    pub fn signature(&self) -> u64 {
        self.signature.finish()
    }

    /// Empty again; what was allocated is kept.
    pub fn clear(&mut self) {
        self.items.clear();
        self.words.clear();
        self.signature = Quick::default();
    }

    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.items.iter().map(|item| match item {
            Item::Kernel { function, grid, arguments } => {
                Piece::Kernel { function: *function, grid: *grid, arguments: &self.words[arguments.clone()] }
            }
            Item::Upload(upload) => Piece::Upload(*upload),
            Item::Product(product) => Piece::Product(product),
        })
    }

    /// Queues all of it.
    pub fn start(&self, op: &'static str, stream: &Stream, pool: &mut Pool) -> Result<()> {
        self.pieces().try_for_each(|piece| {
            let start = || piece.start(op, stream);
            or_with_room(start(), || pool.make_room(op, &self.addresses(), stream).and_then(|()| start()))
        })
    }

    /// All numbers in it that may be addresses, sorted.
    pub fn addresses(&self) -> Vec<Address> {
        let others = self.items.iter().flat_map(|item| match item {
            Item::Kernel { .. } => Vec::new(),
            Item::Upload(upload) => vec![upload.to],
            Item::Product(product) => product.addresses(),
        });
        let mut all: Vec<Address> = self.words.iter().copied().chain(others).collect();
        all.sort_unstable();
        all
    }

    /// How many pieces are not those of the other list; `None` if the lists are not of one form, or their products are not the same.
    pub fn distance(&self, other: &Self) -> Option<usize> {
        let pairs = || self.pieces().zip(other.pieces());
        (self.len() == other.len() && pairs().all(|(a, b)| a.is_like(&b))).then(|| pairs().filter(|(a, b)| a != b).count())
    }
}
