//! Work gathered into CUDA graphs ([`Options::graphs`](crate::Options::graphs)): what is asked of the device between two looks of the host is written
//! down, and goes to the device as one launch. A loop that asks for the same work again has the graph of the last time, in which the pieces that have
//! other numbers or addresses are changed. Products are not: each set of their addresses, of which a loop has few, is another graph's.

use crate::failure::or_with_room;
use crate::graph::{CaptureStream, Executable};
use crate::memory::Pool;
use crate::staging::{Chunk, Staging};
use crate::stream::Stream;
use crate::work::{List, Piece};
use mfm_core::{Error, Result};
use std::collections::HashMap;

/// How much work a graph has at most: the device does one while the host writes down the next.
const LONGEST: usize = 1 << 9;
/// With less, a graph saves nothing.
const SHORTEST: usize = 4;
/// How many bytes of pinned host memory wait for a graph at most.
const WAITING: usize = 64 << 20;
/// How many graphs are kept to be used again.
const KEPT: usize = 64;
/// How many of one form with the same products: a loop may take turns between places in memory.
const KEPT_OF_A_FORM: usize = 4;
/// After this many graphs of a form that were never used again, only every `MOST_ONCE`-th list gets one: its products may have new addresses each time.
const MOST_ONCE: u64 = 16;
/// The number of failures of a form after which there are no more graphs of it.
const MOST_FAILURES: u32 = 2;
/// Of how many forms it is known what became of their graphs.
const FORMS: usize = 1 << 10;

/// What became of the work that was gathered into graphs ([`Options::graphs`](crate::Options::graphs)).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Graphs {
    /// How many graphs were made.
    pub made: u64,
    /// How many graphs were launched.
    pub launched: u64,
    /// How often work went without a graph since there was too little of it.
    pub short: u64,
    /// How often work went without since graphs of its form were not used again.
    pub fleeting: u64,
    /// How often a graph could not be changed.
    pub unchanged: u64,
    /// How often work went without because its graph could not be made or launched; after two failures of a form it goes without for good.
    pub refused: u64,
    /// Why it was so the last time.
    pub refusal: Option<Error>,
}

/// What work needs of its device.
pub(crate) struct Resources<'a> {
    pub stream: &'a Stream,
    pub staging: &'a mut Staging,
    /// Makes room for what the driver keeps of graphs and kernels.
    pub pool: &'a mut Pool,
}

/// A graph that is kept.
struct Kept {
    /// Of its form.
    signature: u64,
    executable: Executable,
    /// When it was last launched.
    used: u64,
}

/// What became of the graphs of a form.
#[derive(Default)]
struct Form {
    /// How many lists of it there were since a graph was last used again.
    once: u64,
    failures: u32,
    failure: Option<Error>,
}

impl Form {
    fn failed(&mut self, error: Error) {
        (self.failures, self.failure) = (self.failures + 1, Some(error));
    }
}

/// The work that has not gone to the device yet, and the graphs of earlier work. The order of work is that of the calls, as without graphs.
pub(crate) struct Queue {
    list: List,
    /// What the list copies to the device.
    chunks: Vec<Chunk>,
    graphs: Vec<Kept>,
    forms: HashMap<u64, Form>,
    captures: CaptureStream,
    counts: Graphs,
    /// Why work that was written down was lost. Tensors wait for it, so every later call returns it.
    failed: Option<Error>,
}

impl Queue {
    pub fn new(captures: CaptureStream) -> Self {
        Self {
            list: List::default(),
            chunks: Vec::new(),
            graphs: Vec::new(),
            forms: HashMap::new(),
            captures,
            counts: Graphs::default(),
            failed: None,
        }
    }

    pub fn counts(&self) -> Graphs {
        self.counts
    }

    /// Writes work down.
    pub fn add(&mut self, op: &'static str, work: &Piece<'_>, resources: &mut Resources<'_>) -> Result<()> {
        if self.list.len() >= LONGEST {
            self.flush(op, resources)?;
        }
        self.reported()?;
        self.list.push(work);
        Ok(())
    }

    /// Keeps host memory until the work that reads it is done.
    pub fn keep(&mut self, op: &'static str, chunk: Chunk, resources: &mut Resources<'_>) -> Result<()> {
        self.chunks.push(chunk);
        if self.chunks.iter().map(Chunk::capacity).sum::<usize>() < WAITING { Ok(()) } else { self.flush(op, resources) }
    }

    /// Gives the device what was written down.
    pub fn flush(&mut self, op: &'static str, resources: &mut Resources<'_>) -> Result<()> {
        if !self.list.is_empty()
            && let Err(error) = self.launch(op, resources)
        {
            self.failed.get_or_insert(error);
        }
        self.list.clear();
        self.reported()
    }

    fn launch(&mut self, op: &'static str, resources: &mut Resources<'_>) -> Result<()> {
        if self.list.len() < SHORTEST {
            self.counts.short += 1;
            self.list.start(op, resources.stream, resources.pool)?;
        } else {
            self.launch_together(op, resources.stream, resources.pool)?;
        }
        self.chunks.drain(..).try_for_each(|chunk| resources.staging.give(op, chunk, resources.stream))
    }

    /// Where a graph cannot be made or launched, nothing was done, and the work goes without.
    fn launch_together(&mut self, op: &'static str, stream: &Stream, pool: &mut Pool) -> Result<()> {
        let signature = self.list.signature();
        let place = match self.given_up(signature) {
            Some(error) => Err(error),
            None => or_with_room(self.prepare(op, signature, stream), || {
                pool.make_room(op, &self.list.addresses(), stream)?;
                self.prepare(op, signature, stream)
            }),
        };
        let (outcome, list) = match place {
            Ok(Some(place)) => {
                let executable = &self.graphs[place].executable;
                let (launch, list) = (|| executable.launch(op, stream), executable.list());
                (or_with_room(launch(), || pool.make_room(op, &list.addresses(), stream).and_then(|()| launch())), list)
            }
            Ok(None) => {
                self.counts.fleeting += 1;
                return self.list.start(op, stream, pool);
            }
            Err(error) => (Err(error), &self.list),
        };
        match outcome {
            Ok(()) => {
                self.counts.launched += 1;
                Ok(())
            }
            Err(error) => {
                (self.counts.refused, self.counts.refusal) = (self.counts.refused + 1, Some(error));
                self.forms.entry(signature).or_default().failed(error);
                list.start(op, stream, pool)
            }
        }
    }

    /// The place of a graph that does what is written down: the nearest with its products, changed, or a new one, if graphs of its form are of use. After a
    /// failure the list stays as it is.
    fn prepare(&mut self, op: &'static str, signature: u64, stream: &Stream) -> Result<Option<usize>> {
        if self.forms.len() >= FORMS {
            self.forms.clear();
        }
        if let Some(error) = self.given_up(signature) {
            return Err(error);
        }
        let form = self.forms.entry(signature).or_default();
        let used = self.counts.launched;
        let of_this_form = || self.graphs.iter().enumerate().filter(|(_, kept)| kept.signature == signature);
        let near = || of_this_form().filter_map(|(place, kept)| Some((kept.executable.list().distance(&self.list)?, place)));
        // Where much is different it may be the turn of another one.
        if let Some((distance, place)) = near().min()
            && (8 * distance <= self.list.len() || near().count() >= KEPT_OF_A_FORM)
        {
            let kept = &mut self.graphs[place];
            let Err(error) = kept.executable.adapt(op, &mut self.list) else {
                (kept.used, form.once) = (used, 0);
                return Ok(Some(place));
            };
            form.failed(error);
            self.counts.unchanged += 1;
            self.forget(op, place, stream)?;
            return self.prepare(op, signature, stream);
        }
        form.once += 1;
        if form.once > MOST_ONCE && !form.once.is_multiple_of(MOST_ONCE) {
            return Ok(None);
        }
        if self.graphs.len() >= KEPT
            && let Some((place, _)) = self.graphs.iter().enumerate().min_by_key(|(_, kept)| kept.used)
        {
            self.forget(op, place, stream)?;
        }
        let executable = Executable::new(op, &mut self.list, &self.captures)?;
        self.counts.made += 1;
        self.graphs.push(Kept { signature, executable, used });
        Ok(Some(self.graphs.len() - 1))
    }

    /// What kept graphs of a form from being made or launched so often that no more are tried.
    fn given_up(&self, signature: u64) -> Option<Error> {
        self.forms.get(&signature).filter(|form| form.failures >= MOST_FAILURES).and_then(|form| form.failure)
    }

    fn forget(&mut self, op: &'static str, place: usize, stream: &Stream) -> Result<()> {
        // It may be under way.
        stream.synchronize(op)?;
        drop(self.graphs.swap_remove(place));
        Ok(())
    }

    fn reported(&mut self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }
}
