//! How a guest's privileged code stays in the monitor after a trap: its ordinary instructions and
//! frequent CSR accesses as rewritten code, the other privileged ones by the definition, until
//! none comes for a while.

use ringer_hart::memory::TranslationCache;
use ringer_hart::{Bus, Exit, Hart, Privilege};
use ringer_machine::board::Board;
use ringer_metal::closeness::{Closeness, Verdict};
use ringer_metal::rewrite::{Values, Window};

use crate::cpu::Cpu;
use crate::decoder::{Decoded, Decoder, Kind};
use crate::hardware::passage::Trap;
use crate::rewritten::{Found, Missing, Rewritten};
use crate::virtual_hart::fetch;

/// Instructions that the monitor takes for one that traps, and for what that may begin.
const TRAP: u64 = 1200;

/// Why rewritten code stopped.
pub enum Back {
    /// What an instruction of the definition came to, if it came to anything; or the stay is
    /// over.
    Exit(Option<Exit>),
    /// A trap of an instruction in rewritten code; the virtual hart stands at the guest's.
    Trap(Trap),
}

/// A virtual hart's stay, and what outlasts it.
#[derive(Default)]
pub struct Stay {
    rewritten: Option<Rewritten>,
    /// There is no memory for rewritten code.
    impossible: bool,
    closeness: Closeness,
    /// Whether there is one.
    on: bool,
    /// It has just begun: for how many instructions.
    new: Option<u16>,
    /// Where it began.
    origin: u64,
    /// Instructions that it took the monitor.
    cost: u64,
    /// Privileged instructions that the definition has executed.
    defined: u64,
    /// The last privileged instruction that was not in rewritten code.
    from: u64,
    /// Instructions since then.
    since: u64,
    /// The last after which no stay was begun.
    refused: Option<u64>,
    /// For which state of the pages the frame's slots are right, if nothing else is in doubt.
    state: u64,
    doubtful: bool,
    /// The window that is open, and what it held then.
    open: Option<(&'static Window, Values)>,
    /// Instructions executed in rewritten form.
    pub instructions: u64,
}

impl Stay {
    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// A new slice begins, maybe on another real hart.
    pub fn forget(&mut self) {
        self.on = false;
        self.refused = None;
    }

    /// The guest's code may have changed.
    pub fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// The definition has executed a privileged instruction at `pc`, or the guest has been
    /// interrupted and stands at `pc`. What comes next may be done here.
    pub fn begin(&mut self, pc: u64, privilege: Privilege) {
        self.on = false;
        self.refused = None;
        if privilege == Privilege::User || self.impossible {
            return;
        }
        match self.closeness.begins(pc) {
            Some(patience) => {
                self.on = true;
                self.new = Some(patience);
                self.from = pc;
                self.origin = pc;
                self.cost = 0;
                self.defined = 0;
            }
            None => self.refused = Some(pc),
        }
    }

    /// [`Stay::go_on`] took so many instructions, and `sites` privileged ones of the guest's were
    /// executed in rewritten form since the stay began. If it is over, was it worth that?
    pub fn settle(&mut self, instructions: u64, sites: u64) {
        self.cost += instructions;
        if self.on {
            return;
        }
        let missing = (self.rewritten.as_mut()).map(|known| core::mem::take(&mut known.missing));
        let Missing { any, made } = missing.unwrap_or_default();
        let worth = TRAP * (sites + self.defined);
        let verdict = match self.cost.saturating_sub(made) > worth {
            false => Verdict::Worth,
            true if any => Verdict::Unready,
            true => Verdict::Vain,
        };
        self.closeness.judge(self.origin, verdict);
    }

    /// The real hart has trapped after so many instructions of the guest's, at a privileged one
    /// or not.
    pub fn trapped(&mut self, instructions: u64, privileged: bool) {
        if let Some(pc) = self.refused.take()
            && privileged
        {
            self.learn(pc, Some(instructions));
        }
    }

    /// A privileged instruction came after so many others behind the one at `pc`, or did not
    /// come.
    fn learn(&mut self, pc: u64, distance: Option<u64>) {
        // Rewritten code knows how long it waits.
        if self.closeness.learn(pc, distance)
            && let Some(rewritten) = &mut self.rewritten
        {
            rewritten.reconsider(pc);
        }
    }

    /// Lets the guest's code go on until it traps, until the definition's work concerns others,
    /// or until the stay is over. `state` is that of the pages behind `near`.
    pub fn go_on(
        &mut self,
        hart: &mut Hart,
        board: &Board,
        cpu: &mut Cpu,
        state: u64,
        near: &mut impl TranslationCache,
        decoded: &mut Decoder,
    ) -> Back {
        let frame = cpu.passage.frame();
        if let Some(patience) = self.new.take() {
            frame.limit = patience.into();
            self.since = 0;
            frame.retired = 0;
            frame.site = 0;
            frame.sites = 0;
            if let Some(rewritten) = &mut self.rewritten {
                rewritten.jump(frame);
            }
            frame.forget();
        }
        let other = core::mem::replace(&mut self.state, state) != state;
        if core::mem::take(&mut self.doubtful) || other {
            frame.forget();
        }
        loop {
            let privilege = hart.mode.privilege;
            let Some(window) = Window::of(privilege) else {
                return self.end(hart, board, cpu);
            };
            if cpu.is_interrupted() {
                return self.end(hart, board, cpu);
            }
            let frame = cpu.passage.frame();
            if frame.retired > frame.limit {
                self.regret(frame.site);
                return self.end(hart, board, cpu);
            }
            if self.rewritten.is_none() {
                self.rewritten = Rewritten::new();
                self.impossible = self.rewritten.is_none();
            }
            let Some(rewritten) = &mut self.rewritten else {
                return self.end(hart, board, cpu);
            };
            let pc = hart.pc;
            match rewritten.find(pc, privilege, near, board.ram(), &self.closeness, frame) {
                Found::Nothing => return self.end(hart, board, cpu),
                Found::Instruction => {}
                Found::Code(entry) => {
                    if self.open.is_none() {
                        window.open(hart, board, frame);
                        self.open = Some((window, frame.csrs));
                    }
                    let trap = cpu.passage.enter_rewritten(hart, entry);
                    let frame = cpu.passage.frame();
                    let dispatcher = rewritten.dispatcher();
                    if trap.pc == dispatcher.left {
                        hart.pc = frame.next;
                        continue;
                    }
                    if trap.pc != dispatcher.asked {
                        if let Some((pc, place)) = rewritten.place(trap.pc) {
                            hart.pc = pc;
                            frame.retired += u64::from(place.before);
                        }
                        self.close(hart, board, cpu);
                        return Back::Trap(trap);
                    }
                    hart.pc = frame.next;
                }
            }
            rewritten.jump(cpu.passage.frame());
            self.close(hart, board, cpu);
            let known = fetch(hart.pc, board, near, decoded);
            let Some(Decoded { insn, kind }) = known.filter(|known| known.kind != Kind::Float)
            else {
                return self.end(hart, board, cpu);
            };
            let pc = hart.pc;
            let frame = cpu.passage.frame();
            let mut goes_on = true;
            if *kind == Kind::Traps {
                if frame.site == 0 {
                    self.closeness.learn(self.from, Some(self.since));
                }
                let patience = self.closeness.expects(pc);
                goes_on = patience.is_some();
                frame.limit = patience.unwrap_or(0).into();
                frame.site = 0;
                self.from = pc;
                self.since = 0;
                self.defined += 1;
            } else {
                frame.limit = frame.limit.saturating_sub(1);
                self.since += 1;
            }
            let exit = hart.execute_at_pc(board, near, insn);
            if !goes_on {
                self.on = false;
                self.refused = Some(pc);
                return Back::Exit(exit);
            }
            let asked = !hart.effects.is_empty() || board.lines(hart.id).has_requests();
            if exit.is_some() || asked {
                return Back::Exit(exit);
            }
        }
    }

    /// The guest has gone on for long enough after the last privileged instruction: `site` in
    /// rewritten code, or outside of it.
    fn regret(&mut self, site: u64) {
        let mut from = self.from;
        if site != 0 {
            let place = self.rewritten.as_ref().and_then(|known| known.place(site));
            let Some((pc, _)) = place else {
                return;
            };
            from = pc;
        }
        match self.closeness.expects(from) {
            Some(_) => self.learn(from, None),
            // The real hart will show how far it is.
            None => self.refused = Some(from),
        }
    }

    /// The virtual hart gets what rewritten code has done with its CSRs.
    fn close(&mut self, hart: &mut Hart, board: &Board, cpu: &mut Cpu) {
        let frame = cpu.passage.frame();
        if let Some((window, old)) = self.open.take() {
            window.close(hart, board, &old, &frame.csrs);
        }
        let retired = core::mem::take(&mut frame.retired);
        frame.limit = frame.limit.saturating_sub(retired);
        self.since += retired;
        hart.counts.retired = hart.counts.retired.wrapping_add(retired);
        self.instructions = self.instructions.wrapping_add(retired);
    }

    fn end(&mut self, hart: &mut Hart, board: &Board, cpu: &mut Cpu) -> Back {
        self.close(hart, board, cpu);
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.jump(cpu.passage.frame());
        }
        self.on = false;
        Back::Exit(None)
    }
}
