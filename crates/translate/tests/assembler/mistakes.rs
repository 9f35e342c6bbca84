//! What cannot be assembled is reported, and an assembler can be used again afterwards.

use ringer_translate::assembler::{AssembleError, Assembler, Cond, Mem, Reg, Scale, Shift, Width};

use crate::ADDRESS;

/// What `finish` says after `write`.
fn outcome(write: impl FnOnce(&mut Assembler)) -> Result<(), AssembleError> {
    let mut assembler = Assembler::new(ADDRESS);
    write(&mut assembler);
    assembler.finish()
}

#[test]
fn unbound_labels() {
    let unbound = outcome(|a| {
        a.nop(3);
        let label = a.label();
        a.jmp(label);
    });
    assert_eq!(unbound, Err(AssembleError::Unbound { at: 4 }));
    // A label that nothing refers to need not be anywhere.
    let idle = outcome(|a| {
        a.label();
    });
    assert_eq!(idle, Ok(()));
}

#[test]
fn finishing_again_does_not_forgive() {
    let mut assembler = Assembler::new(ADDRESS);
    let label = assembler.label();
    assembler.jmp(label);
    let unbound = Err(AssembleError::Unbound { at: 1 });
    assert_eq!(assembler.finish(), unbound);
    assert_eq!(assembler.finish(), unbound);
}

#[test]
fn labels_of_another_assembler() {
    let foreign = Assembler::new(0).label();
    let refers = outcome(|a| a.jcc(Cond::E, foreign));
    assert_eq!(refers, Err(AssembleError::Unbound { at: 2 }));
    let binds = outcome(|a| a.bind(foreign));
    assert_eq!(binds, Err(AssembleError::Unbound { at: 0 }));
}

#[test]
fn labels_in_two_places() {
    let twice = outcome(|a| {
        let label = a.bind_here();
        a.ret();
        a.bind(label);
    });
    assert_eq!(twice, Err(AssembleError::BoundTwice { at: 1 }));
}

#[test]
fn short_jumps_out_of_reach() {
    for gap in [127, 128] {
        let forward = outcome(|a| {
            let label = a.label();
            a.jmp_short(label);
            a.nop(gap);
            a.bind(label);
        });
        let expected = Err(AssembleError::OutOfReach { at: 1 });
        assert_eq!(forward, if gap == 127 { Ok(()) } else { expected });
    }
    for gap in [126, 127] {
        let backward = outcome(|a| {
            let label = a.bind_here();
            a.nop(gap);
            a.jcc_short(Cond::S, label);
        });
        let expected = Err(AssembleError::OutOfReach { at: gap + 1 });
        assert_eq!(backward, if gap == 126 { Ok(()) } else { expected });
    }
}

#[test]
fn absolute_targets_out_of_reach() {
    let out_of_reach = |at| Err(AssembleError::OutOfReach { at });
    let end = ADDRESS + 5;
    assert_eq!(outcome(|a| a.jmp_to(end + i32::MAX as u64)), Ok(()));
    assert_eq!(outcome(|a| a.jmp_to(end + (1 << 31))), out_of_reach(1));
    assert_eq!(outcome(|a| a.call_to(end - (1 << 31))), Ok(()));
    assert_eq!(outcome(|a| a.call_to(end - (1 << 31) - 1)), out_of_reach(1));
    assert_eq!(outcome(|a| a.jcc_to(Cond::E, 0)), out_of_reach(2));
    assert_eq!(outcome(|a| a.jmp_to(u64::MAX)), out_of_reach(1));
}

#[test]
fn the_stack_pointer_as_an_index() {
    let mem = Mem::indexed(Reg::Rax, Reg::Rsp, Scale::X1, 0);
    let expected = Err(AssembleError::StackPointerAsIndex);
    assert_eq!(outcome(|a| a.mov_rm(Width::W64, Reg::Rax, mem)), expected);
}

#[test]
fn rotations_without_flags() {
    for op in [Shift::Rol, Shift::Ror] {
        let rotation = outcome(|a| a.shiftx(op, Width::W64, Reg::Rax, Reg::Rax, Reg::Rcx));
        assert_eq!(rotation, Err(AssembleError::NoSuchShift));
    }
}

#[test]
fn the_first_mistake_is_reported_until_the_reset() {
    let mut assembler = Assembler::new(ADDRESS);
    assembler.jmp_to(0);
    let label = assembler.label();
    assembler.jmp(label);
    let first = Err(AssembleError::OutOfReach { at: 1 });
    assert_eq!(assembler.finish(), first);
    assert_eq!(assembler.finish(), first);

    assembler.reset(ADDRESS + 7);
    assert_eq!((assembler.offset(), assembler.address()), (0, ADDRESS + 7));
    assert_eq!(assembler.code(), []);
    assert_eq!(assembler.offset_of(label), None);
    assembler.ret();
    assert_eq!(assembler.finish(), Ok(()));
    assert_eq!(assembler.code(), [0xc3]);
}
