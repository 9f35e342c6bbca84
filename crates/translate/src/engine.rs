//! The engine: runs a hart in generated code, and by the definition wherever that cannot go on.
//! One of the few modules with `unsafe`: it enters generated code.

use std::collections::HashSet;
use std::sync::Arc;

use ringer_hart::hart::{AddressFence, Effects};
use ringer_hart::memory::TranslationCache;
use ringer_hart::translate::Access;
use ringer_hart::{Bus, Exit, Hart, PAGE_SIZE};
use ringer_isa::{Insn, Op};

use crate::assembler::Assembler;
use crate::cache::{Fresh, Key, Room};
use crate::core_state::Core;
use crate::counts::TranslatorCounts;
use crate::emit::Translation;
use crate::recent::RecentCode;
use crate::shared::{SharedCode, TranslateError};
use crate::space::SpaceCache;
use crate::spaces::Spaces;
use crate::thunks::exit;

/// Instructions that a hart stays in generated code for at most: how long a request may wait,
/// and what bounds the guessed return addresses on the host's stack (16 bytes for each call).
const STAY: u64 = 8192;

/// Runs one hart. Holds nothing but caches: it can be dropped and made anew at any time.
pub struct Translator<B: ?Sized> {
    core: Box<Core>,
    engine: Engine<B>,
}

/// The part of a [`Translator`] that the helpers of generated code work on.
pub struct Engine<B: ?Sized> {
    pub(crate) shared: Arc<SharedCode<B>>,
    pub(crate) spaces: Spaces,
    pub(crate) counts: TranslatorCounts,
    /// Instructions executed by the definition for generated code, by [`Op`].
    by_op: Box<[u64]>,
    assembler: Assembler,
    recent: RecentCode,
    /// News heard: pages with code, and drops of blocks.
    pages_heard: u64,
    drops_heard: u64,
}

// SAFETY: the raw pointers in the core are set for the length of one `run` and lead to what that
// call has borrowed, and to spaces that the translator itself owns.
unsafe impl<B: ?Sized> Send for Translator<B> {}

impl<B: Bus> Translator<B> {
    /// A translator for one hart of the machine whose code is in `shared`. Fails if the host
    /// gives no memory for its tables.
    pub fn new(shared: Arc<SharedCode<B>>) -> Result<Self, TranslateError> {
        Ok(Self {
            core: Box::new(Core::new()),
            engine: Engine {
                pages_heard: shared.pages(),
                drops_heard: shared.drops(),
                spaces: Spaces::new(shared.harts()).map_err(TranslateError::Tables)?,
                shared,
                counts: TranslatorCounts::default(),
                by_op: vec![0; Op::ALL.len()].into_boxed_slice(),
                assembler: Assembler::new(0),
                recent: RecentCode::new(),
            },
        })
    }

    /// The code shared with the other harts.
    pub fn shared(&self) -> &Arc<SharedCode<B>> {
        &self.engine.shared
    }

    /// What it has done.
    pub fn counts(&self) -> TranslatorCounts {
        TranslatorCounts {
            spaces: self.engine.spaces.counts(),
            ..self.engine.counts
        }
    }

    /// Which instructions generated code has left to the definition and how often, the most
    /// frequent first. Accesses to pages that are not in the tables yet are among them.
    pub fn fallbacks(&self) -> Vec<(Op, u64)> {
        let counts = Op::ALL
            .iter()
            .copied()
            .zip(self.engine.by_op.iter().copied());
        let mut counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// Executes up to `budget` instructions, exactly as `Interpreter::run` does.
    pub fn run(&mut self, hart: &mut Hart, bus: &B, budget: u64) -> Exit {
        std::mem::swap(&mut self.core.hart, hart);
        let exit = self.run_core(bus, budget);
        self.engine.shared.leave(self.core.hart.id);
        std::mem::swap(&mut self.core.hart, hart);
        exit
    }

    fn run_core(&mut self, bus: &B, budget: u64) -> Exit {
        let mut left = budget;
        bus.look_at_clock(self.core.hart.id);
        // Whoever drove the hart before may have changed anything.
        self.core.hart.effects |= Effects::CONTEXT | Effects::INTERRUPTS;
        loop {
            let Self { core, engine } = self;
            let hart = &mut core.hart;
            engine.hear_news(hart, bus);
            if bus.lines(hart.id).has_requests() && hart.attend(bus) {
                return Exit::Yield;
            }
            while !hart.effects.is_empty() {
                engine.act_on_effects(hart, bus);
            }
            if left == 0 {
                return Exit::Budget;
            }
            let exit = match engine.find_code(hart, bus) {
                Some(code) => self.stay(bus, code, &mut left),
                None => {
                    left -= 1;
                    engine.counts.steps += 1;
                    engine.step(hart, bus)
                }
            };
            if exit.is_some() {
                return exit.unwrap_or(Exit::Budget);
            }
        }
    }

    /// Runs generated code from `code` on, which belongs to `pc`.
    fn stay(&mut self, bus: &B, code: u64, left: &mut u64) -> Option<Exit> {
        let allowed = (*left).min(STAY);
        let Self { core, engine } = self;
        core.left = allowed;
        core.horizon = core.hart.counts.retired.wrapping_add(allowed);
        core.use_space(&mut engine.spaces);
        core.watch_interrupts(bus);
        core.exit = None;
        core.engine = (&raw mut *engine).cast();
        core.bus = (&raw const *bus).cast();
        let ram = bus.ram();
        core.ram_distance = ram.base().0.wrapping_sub(ram.host().as_ptr() as u64);
        core.prepare_float();
        let pc = core.hart.pc;
        engine.counts.entries += 1;
        let core: *mut Core = &raw mut **core;
        // SAFETY: `enter` is code generated by `Thunks::assemble`, with this signature; `code` is
        // the far entry of a block, or of the thunks, in memory that stays as it is while this
        // hart is not away. Core, engine and bus live on, and nothing else touches them meanwhile.
        let result = unsafe {
            let enter: extern "sysv64" fn(*mut Core, u64, u64) -> u64 =
                std::mem::transmute(engine.shared.thunks.enter);
            enter(core, code, pc)
        };
        let core = &mut *self.core;
        core.settle_float();
        self.engine.spaces.enter(&core.hart);
        *left -= allowed - core.left;
        if result != exit::LOOK {
            core.hart.counts.retired = core.horizon.wrapping_sub(core.left);
        }
        match result {
            exit::LOOK => core.exit,
            exit::JUMP => None,
            exit::BUDGET => {
                // Fewer instructions are left than the next block has: one by one, if they are
                // the last ones.
                if core.left == *left {
                    return self.finish(bus, left);
                }
                None
            }
            link => {
                if *left != 0 {
                    self.engine.link(&mut self.core.hart, bus, link as u32);
                }
                None
            }
        }
    }

    /// Executes what is left of the budget by the definition.
    fn finish(&mut self, bus: &B, left: &mut u64) -> Option<Exit> {
        let Self { core, engine } = self;
        while *left > 0 {
            *left -= 1;
            engine.counts.steps += 1;
            let exit = engine.step(&mut core.hart, bus);
            if exit.is_some() {
                return exit;
            }
            if !core.hart.effects.is_empty() || bus.lines(core.hart.id).has_requests() {
                return None;
            }
        }
        None
    }
}

impl<B: Bus> Engine<B> {
    /// Acts on what other harts have done to the code cache.
    fn hear_news(&mut self, hart: &Hart, bus: &B) {
        loop {
            let pages = self.shared.pages();
            if pages != self.pages_heard {
                self.note_stores_to_new_pages(bus);
            }
            let drops = self.shared.drops();
            if drops != self.drops_heard {
                self.forget_code();
                self.drops_heard = drops;
            }
            self.shared
                .hear(hart.id, self.pages_heard, self.drops_heard);
            // Told first, then looked again: either the others see that this hart has heard of
            // a change, or it sees the change here.
            if self.shared.pages() == self.pages_heard && self.shared.drops() == self.drops_heard {
                return;
            }
        }
    }

    fn note_stores_to_new_pages(&mut self, bus: &B) {
        let shared = Arc::clone(&self.shared);
        let store = shared.store();
        let ram = bus.ram().host().as_ptr() as u64;
        match store.pages_since(self.pages_heard) {
            Some(pages) => {
                let pages: HashSet<u64> = pages.iter().map(|page| ram + page * PAGE_SIZE).collect();
                self.spaces.note_stores(|host| pages.contains(&host));
            }
            None => self.spaces.forget_all(),
        }
        self.pages_heard = self.shared.pages();
    }

    pub(crate) fn act_on_effects(&mut self, hart: &mut Hart, bus: &B) {
        let effects = hart.take_effects();
        if effects.contains(Effects::FENCE_I) {
            self.fence_i(hart, bus);
        }
        if effects.contains(Effects::FLUSH_TLB) {
            self.spaces.fence(AddressFence::default());
        } else if effects.contains(Effects::FENCE_VMA) {
            self.spaces.fence(hart.fence);
        }
        if effects.intersects(Effects::INTERRUPTS | Effects::DEVICE) {
            hart.take_interrupt(bus);
        }
        self.spaces.enter(hart);
        hart.effects.remove(Effects::CONTEXT);
    }

    /// Acts on effects that leave translations and code as they are. True if `pc` did not move
    /// (no interrupt was taken) and instructions are fetched as before.
    pub(crate) fn fetches_as_before(&mut self, hart: &mut Hart, bus: &B) -> bool {
        let before = (hart.pc, self.spaces.current_mut().conditions.fetch);
        let root = self.spaces.root();
        self.act_on_effects(hart, bus);
        hart.effects.is_empty()
            && before == (hart.pc, self.spaces.current_mut().conditions.fetch)
            && root == self.spaces.root()
    }

    /// Drops the blocks whose code has changed since it was translated.
    fn fence_i(&mut self, hart: &Hart, bus: &B) {
        let code_pages = bus.ram().watch_code();
        let shared = Arc::clone(&self.shared);
        let mut store = shared.store();
        let mut dropped = false;
        let unsettled = shared.unsettled_pages(&mut store, hart.id, self.pages_heard);
        for page in unsettled.unwrap_or_else(|| store.cache.pages()) {
            dropped |= store.cache.drop_changed(&shared.memory, page, |key| {
                Some(Translation::of(bus.ram(), key)?.fingerprint())
            });
        }
        code_pages.take_changed(|page| {
            dropped |= store.cache.drop_page(&shared.memory, page);
        });
        if dropped {
            shared.announce_drops();
        }
        let drops = shared.drops();
        if drops != self.drops_heard {
            self.forget_code();
            self.drops_heard = drops;
        }
    }

    /// The generated code for `pc`; `None` if that instruction is for the definition.
    pub(crate) fn find_code(&mut self, hart: &mut Hart, bus: &B) -> Option<u64> {
        if let Some(code) = self.spaces.current_mut().find_jump(hart.pc) {
            return Some(code);
        }
        let offset = self.locate(hart, bus)?;
        let key = Key::new(offset, hart.mode.privilege);
        let code = match self.recent.find(key) {
            Some(code) => code,
            None => {
                let shared = Arc::clone(&self.shared);
                let known = shared.store().cache.far(key);
                let code = match known {
                    Some(code) => code,
                    None => self.translate(hart, bus, key)?,
                };
                self.recent.remember(key, code);
                code
            }
        };
        self.spaces.current_mut().remember_jump(hart.pc, code);
        Some(code)
    }

    /// Forgets where code is, since blocks were dropped.
    fn forget_code(&mut self) {
        self.spaces.forget_jumps();
        self.recent.forget();
    }

    /// Where in RAM the code at `pc` lies, if all of its page may be executed.
    fn locate(&mut self, hart: &mut Hart, bus: &B) -> Option<u64> {
        let mut cache = SpaceCache::new(self.spaces.current_mut(), bus.ram());
        if let Some(offset) = cache.find(Access::Fetch, hart.pc, 2) {
            return Some(offset);
        }
        // A fault is the definition's to take; and it tells the cache of whole pages only.
        hart.locate_code(bus, &mut cache, hart.pc).ok()?;
        let offset = cache.find(Access::Fetch, hart.pc, 2);
        self.counts.fills += cache.fills;
        offset
    }

    /// Makes a block for `key`.
    fn translate(&mut self, hart: &Hart, bus: &B, key: Key) -> Option<u64> {
        let started = std::time::Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut store = shared.store();
        if let Some(code) = store.cache.far(key) {
            return Some(code); // another hart was quicker
        }
        let ram = bus.ram();
        let page = key.page();
        if !ram.watch_code().holds_code(page) {
            // Marked before it is read, so that no change goes unnoticed.
            ram.watch_code().mark(page);
            let host = ram.host().as_ptr() as u64 + page * PAGE_SIZE;
            self.spaces.note_stores(|at| at == host);
            // What this hart has not heard yet it has just done, or will do next.
            let behind = self.pages_heard != shared.pages();
            shared.announce_page(&mut store, page);
            if !behind {
                self.pages_heard = shared.pages();
            }
        }
        let code = self.generate(&mut store, &shared, bus, key, hart);
        self.counts.translation += started.elapsed();
        code
    }

    fn generate(
        &mut self,
        store: &mut crate::shared::Store,
        shared: &SharedCode<B>,
        bus: &B,
        key: Key,
        hart: &Hart,
    ) -> Option<u64> {
        loop {
            let room = store.cache.room(Translation::MOST_BYTES);
            let Room::At(at) = room else {
                if !shared.begin_region(store, hart.id) {
                    return None;
                }
                self.forget_code();
                self.drops_heard = shared.drops();
                continue;
            };
            let translation = Translation::of(bus.ram(), key)?;
            let emitted = translation.emit(
                &mut self.assembler,
                shared.memory.address(at),
                &shared.thunks,
                &shared.features,
                &shared.known,
                None,
            )?;
            let mut code = self.assembler.code().to_vec();
            if code.len() > Translation::MOST_BYTES {
                return None; // it would lie where other blocks are
            }
            let fresh = Fresh {
                code: &mut code,
                near: emitted.near,
                far: emitted.far,
                links: &emitted.links,
                instructions: emitted.instructions,
                fingerprint: translation.fingerprint(),
            };
            return Some(store.cache.add(&shared.memory, key, at, fresh));
        }
    }

    /// Lets link `number` lead to the code at `pc`, if there is or can be any.
    fn link(&mut self, hart: &mut Hart, bus: &B, number: u32) {
        self.counts.link_exits += 1;
        if self.find_code(hart, bus).is_none() {
            return;
        }
        if let Some(offset) = self.locate(hart, bus) {
            let key = Key::new(offset, hart.mode.privilege);
            let shared = Arc::clone(&self.shared);
            shared.store().cache.link(&shared.memory, number, key);
        }
    }

    /// Executes the instruction at `pc` by the definition, and notes what it stored to code.
    pub(crate) fn step(&mut self, hart: &mut Hart, bus: &B) -> Option<Exit> {
        let mut cache = SpaceCache::new(self.spaces.current_mut(), bus.ram());
        let exit = hart.step_with(bus, &mut cache);
        cache.note_stored();
        self.counts.fills += cache.fills;
        exit
    }

    /// As [`Engine::step`], of an instruction that is known to be `insn`.
    pub(crate) fn execute(&mut self, hart: &mut Hart, bus: &B, insn: &Insn) -> Option<Exit> {
        if let Some(count) = self.by_op.get_mut(insn.op as usize) {
            *count += 1;
        }
        let mut cache = SpaceCache::new(self.spaces.current_mut(), bus.ram());
        let exit = hart.execute_at_pc(bus, &mut cache, insn);
        cache.note_stored();
        self.counts.fills += cache.fills;
        exit
    }
}
