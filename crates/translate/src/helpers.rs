//! What generated code calls: the definition, for what generated code does not do itself, and
//! what has to follow from it. One of the few modules with `unsafe`.

use ringer_hart::Bus;
use ringer_hart::hart::Effects;
use ringer_isa::{Class, Insn, csr, decode};

use crate::core_state::Core;
use crate::engine::Engine;
use crate::thunks::{Note, go_on};

/// Effects after which the running block may go on, if the hart still fetches as before.
const HARMLESS: Effects = Effects::CONTEXT
    .union(Effects::INTERRUPTS)
    .union(Effects::DEVICE);

/// Whether the definition of `insn`, or a device that it reaches, may compute with
/// floating-point numbers, or look at their flags.
fn needs_float_unit(insn: &Insn) -> bool {
    match insn.op.class() {
        Class::System | Class::Fence | Class::Atomic | Class::CacheBlock => false,
        Class::Csr => matches!(insn.imm as u16, csr::FFLAGS | csr::FRM | csr::FCSR),
        _ => true,
    }
}

/// Executes the instruction that `note` names, by the definition; `name` is its number, if it is
/// a known one, else its encoding, or 0. Returns one of [`go_on`], or the address of the code to
/// run next.
///
/// # Safety
/// `core` is the core of a translator that runs on a `B`, called from its generated code.
pub unsafe extern "sysv64" fn fallback<B: Bus>(core: *mut Core, note: u32, name: u32) -> u64 {
    // SAFETY: by the contract, and `Translator::stay` has set the pointers to what it borrows
    // for as long as generated code runs, without using it meanwhile.
    let (core, engine, bus) = unsafe {
        let core = &mut *core;
        let engine = &mut *core.engine.cast::<Engine<B>>();
        let bus = &*core.bus.cast::<B>();
        (core, engine, bus)
    };
    // Generated code may have gone to a space near by.
    engine.spaces.enter(&core.hart);
    let note = Note::unpack(note);
    let next = core
        .page
        .wrapping_add(u64::from(note.at) + u64::from(note.len));
    let left = core.left + u64::from(note.uncounted);
    core.hart.counts.retired = core.horizon.wrapping_sub(left);
    core.hart.pc = core.page.wrapping_add(note.at.into());
    let float_before = (core.float_ready, core.float_on);
    let left = left - 1;
    engine.counts.fallbacks += 1;
    let insn = if note.known {
        engine.shared.known.get(name).copied()
    } else {
        decode(name)
    };
    if insn.as_ref().is_none_or(needs_float_unit) {
        core.settle_float();
    }
    let hart = &mut core.hart;
    core.exit = match insn {
        Some(insn) => engine.execute(hart, bus, &insn),
        None => engine.step(hart, bus),
    };
    if core.exit.is_some() || bus.lines(hart.id).has_requests() {
        return leave(core, engine, left);
    }
    let goes_behind = hart.pc == next
        && (hart.effects.is_empty()
            || (HARMLESS.contains(hart.effects) && engine.fetches_as_before(hart, bus)));
    if !goes_behind {
        return onward(core, engine, bus, left);
    }
    core.use_space(&mut engine.spaces);
    core.prepare_float();
    if core.float_ready < float_before.0 || core.float_on < float_before.1 {
        // The block may have relied on it.
        return onward(core, engine, bus, left);
    }
    go_on::BEHIND
}

/// Finds the code for the address in `pc`, which the table of jumps does not have.
///
/// # Safety
/// As for [`fallback`].
pub unsafe extern "sysv64" fn find_jump<B: Bus>(core: *mut Core) -> u64 {
    // SAFETY: as in `fallback`.
    let (core, engine, bus) = unsafe {
        let core = &mut *core;
        let engine = &mut *core.engine.cast::<Engine<B>>();
        let bus = &*core.bus.cast::<B>();
        (core, engine, bus)
    };
    engine.counts.jump_misses += 1;
    if core.left == 0 || bus.lines(core.hart.id).has_requests() {
        // The target may not be fetched at all; then its page is not marked accessed either.
        return go_on::NOT;
    }
    engine.spaces.enter(&core.hart);
    core.use_space(&mut engine.spaces);
    engine.find_code(&mut core.hart, bus).unwrap_or(go_on::NOT)
}

/// Goes on at `pc`, wherever that is, in generated code if there is any.
fn onward<B: Bus>(core: &mut Core, engine: &mut Engine<B>, bus: &B, left: u64) -> u64 {
    let hart = &mut core.hart;
    while !hart.effects.is_empty() {
        engine.act_on_effects(hart, bus);
    }
    if left != 0
        && let Some(code) = engine.find_code(hart, bus)
    {
        core.left = left;
        core.horizon = hart.counts.retired.wrapping_add(left);
        core.use_space(&mut engine.spaces);
        core.prepare_float();
        return code;
    }
    leave(core, engine, left)
}

fn leave<B>(core: &mut Core, engine: &mut Engine<B>, left: u64) -> u64 {
    engine.counts.fallback_exits += 1;
    core.left = left;
    go_on::NOT
}
