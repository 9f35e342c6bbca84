//! What generated code calls: the definition, for one instruction. One of the few modules with
//! `unsafe`.

use ringer_hart::Bus;

use crate::core_state::Core;
use crate::engine::Engine;
use crate::thunks::Note;

/// Executes the stretch of instructions that `note` names, by the definition. Returns 0 if
/// generated code can go on behind it, else 1, with the reason in the core.
///
/// # Safety
/// `core` is the core of a translator that runs on a `B`, called from its generated code.
pub unsafe extern "sysv64" fn fallback<B: Bus>(core: *mut Core, note: u32) -> u32 {
    // SAFETY: by the contract, and `Translator::stay` has set the pointers to what it borrows
    // for as long as generated code runs, without using it meanwhile.
    let (core, engine, bus) = unsafe {
        let core = &mut *core;
        let engine = &mut *core.engine.cast::<Engine<B>>();
        let bus = &*core.bus.cast::<B>();
        (core, engine, bus)
    };
    let note = Note::unpack(note);
    let start = core.page.wrapping_add(note.at.into());
    let len = u64::from(note.len);
    let mut left = core.left + u64::from(note.uncounted);
    core.hart.counts.retired = core.horizon.wrapping_sub(left);
    core.hart.pc = start;
    let float_ready = core.float_ready;
    core.settle_float();
    let mut done = 0;
    loop {
        left -= 1;
        engine.counts.fallbacks += 1;
        let hart = &mut core.hart;
        core.exit = engine.step(hart, bus);
        let busy = !hart.effects.is_empty() || bus.lines(hart.id).has_requests();
        let now = hart.pc.wrapping_sub(start);
        if core.exit.is_some() || busy || now > len || now <= done {
            break;
        }
        if now == len {
            // A branch may have skipped a part.
            core.left = left - u64::from(note.uncounted_behind);
            core.prepare_float();
            if core.float_ready >= float_ready {
                return 0;
            }
            break; // the block may have relied on it
        }
        done = now;
    }
    engine.counts.fallback_exits += 1;
    core.left = left;
    1
}
