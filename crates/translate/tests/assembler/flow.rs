//! Jumps, calls, labels, the stack, and padding.

use iced_x86::Mnemonic;
use ringer_translate::assembler::{Alu, Assembler, Cell, Cond, Reg, Width};

use crate::integer::CONDS;
use crate::{ADDRESS, Checker, decoded, part, place, some_places};

/// Assembles code; yields its bytes.
fn assembled(write: impl FnOnce(&mut Assembler)) -> Vec<u8> {
    let mut assembler = Assembler::new(ADDRESS);
    write(&mut assembler);
    assembler.finish().unwrap();
    assembler.code().to_vec()
}

/// What jumps read as.
fn branches() -> Vec<(String, Option<Cond>)> {
    let conditional = CONDS.map(|(cond, suffix)| (format!("j{suffix}"), Some(cond)));
    let mut all = conditional.to_vec();
    all.push(("jmp".to_string(), None));
    all
}

#[test]
fn jumps_to_labels_behind() {
    let mut checker = Checker::new();
    for gap in [0, 1, 127, 128, 1000] {
        for (mnemonic, cond) in branches() {
            let code = assembled(|a| {
                let label = a.label();
                match cond {
                    Some(cond) => a.jcc(cond, label),
                    None => a.jmp(label),
                }
                a.nop(gap);
                a.bind(label);
                a.ret();
            });
            let target = ADDRESS + code.len() as u64 - 1;
            let jump = decoded(&code, ADDRESS)[0];
            assert_eq!(checker.printer.text(&jump), format!("{mnemonic} {target}"));
            assert_eq!(jump.len(), if cond.is_some() { 6 } else { 5 });
        }
    }
}

#[test]
fn jumps_to_labels_before() {
    let mut checker = Checker::new();
    for gap in [0, 1, 100, 125, 126, 127, 128, 1000] {
        for (mnemonic, cond) in branches() {
            let code = assembled(|a| {
                let label = a.bind_here();
                a.nop(gap);
                match cond {
                    Some(cond) => a.jcc(cond, label),
                    None => a.jmp(label),
                }
            });
            let jump = *decoded(&code, ADDRESS).last().unwrap();
            assert_eq!(checker.printer.text(&jump), format!("{mnemonic} {ADDRESS}"));
            // A short jump reaches 128 bytes back from its end.
            let len = match cond {
                _ if gap <= 126 => 2,
                Some(_) => 6,
                None => 5,
            };
            assert_eq!(jump.len(), len, "gap {gap}");
        }
    }
}

#[test]
fn short_jumps() {
    let mut checker = Checker::new();
    for (mnemonic, cond) in branches() {
        let short = |a: &mut Assembler, label| match cond {
            Some(cond) => a.jcc_short(cond, label),
            None => a.jmp_short(label),
        };
        for gap in [0, 1, 127] {
            let forward = assembled(|a| {
                let label = a.label();
                short(a, label);
                a.nop(gap);
                a.bind(label);
            });
            let target = ADDRESS + 2 + gap as u64;
            let jump = decoded(&forward, ADDRESS)[0];
            assert_eq!(jump.len(), 2);
            assert_eq!(checker.printer.text(&jump), format!("{mnemonic} {target}"));
        }
        for gap in [0, 1, 126] {
            let backward = assembled(|a| {
                let label = a.bind_here();
                a.nop(gap);
                short(a, label);
            });
            let jump = *decoded(&backward, ADDRESS).last().unwrap();
            assert_eq!(jump.len(), 2);
            assert_eq!(checker.printer.text(&jump), format!("{mnemonic} {ADDRESS}"));
        }
    }
}

#[test]
fn calls_and_addresses_of_labels() {
    for d in Reg::ALL {
        let mut assembler = Assembler::new(ADDRESS);
        let (before, behind) = (assembler.bind_here(), assembler.label());
        for label in [before, behind] {
            assembler.call(label);
            assembler.lea_label(d, label);
        }
        assembler.bind(behind);
        assembler.finish().unwrap();
        let end = assembler.address();
        let code = decoded(assembler.code(), ADDRESS);
        let targets = [ADDRESS, ADDRESS, end, end];
        assert_eq!(code.len(), targets.len());
        for (n, (instruction, target)) in code.iter().zip(targets).enumerate() {
            if n % 2 == 0 {
                assert_eq!(instruction.mnemonic(), Mnemonic::Call);
                assert_eq!(instruction.near_branch_target(), target);
            } else {
                assert_eq!(instruction.mnemonic(), Mnemonic::Lea);
                assert!(instruction.is_ip_rel_memory_operand());
                assert_eq!(instruction.ip_rel_memory_address(), target);
                let register = format!("{:?}", instruction.op0_register());
                assert_eq!(register.to_lowercase(), part(Cell::D, d));
            }
        }
    }
}

#[test]
fn many_labels_across_the_growing_buffer() {
    const COUNT: usize = 5000;
    let mut assembler = Assembler::new(ADDRESS);
    let labels: Vec<_> = (0..COUNT).map(|_| assembler.label()).collect();
    // Jumps lead forward and backward, and to every label: 7 does not divide the count.
    for (n, &label) in labels.iter().enumerate() {
        assembler.bind(label);
        assembler.alu_ri(Alu::Add, Width::W64, Reg::Rax, n as i32);
        assembler.jcc(Cond::E, labels[n * 7 % COUNT]);
    }
    assembler.finish().unwrap();
    let code = decoded(assembler.code(), ADDRESS);
    assert_eq!(code.len(), 2 * COUNT);
    for (n, pair) in code.chunks(2).enumerate() {
        assert_eq!(
            assembler.offset_of(labels[n]),
            Some((pair[0].ip() - ADDRESS) as usize)
        );
        assert_eq!(pair[0].immediate(1), n as u64);
        assert_eq!(pair[1].near_branch_target(), code[n * 7 % COUNT * 2].ip());
    }
}

#[test]
fn absolute_targets() {
    let mut checker = Checker::new();
    // The farthest are counted from the end of the longest jump.
    for target in [
        ADDRESS,
        ADDRESS + 1,
        ADDRESS - 4096,
        ADDRESS + 5 + i32::MAX as u64,
        ADDRESS + 6 - (1 << 31),
    ] {
        for (cond, suffix) in CONDS {
            checker.is(&format!("j{suffix} {target}"), |a| a.jcc_to(cond, target));
        }
        checker.is(&format!("jmp {target}"), |a| a.jmp_to(target));
        checker.is(&format!("call {target}"), |a| a.call_to(target));
    }
}

#[test]
fn absolute_targets_behind_other_code() {
    let code = assembled(|a| {
        a.nop(100);
        a.jmp_to(ADDRESS);
    });
    let jump = *decoded(&code, ADDRESS).last().unwrap();
    assert_eq!(jump.near_branch_target(), ADDRESS);
}

#[test]
fn patchable_jumps_are_aligned_at_run_time() {
    for start in 0..8 {
        for before in 0..8 {
            for kind in 0..3 {
                let mut assembler = Assembler::new(ADDRESS + start);
                assembler.nop(before);
                let count = decoded(assembler.code(), 0).len();
                let field = match kind {
                    0 => assembler.jmp_patchable(),
                    1 => assembler.jcc_patchable(Cond::G),
                    _ => assembler.call_patchable(),
                };
                assembler.finish().unwrap();
                assert_eq!((ADDRESS + start + field as u64) % 4, 0);
                assert_eq!(assembler.code()[field..], [0; 4]);

                let code = decoded(assembler.code(), ADDRESS + start);
                let jump = code.last().unwrap();
                assert_eq!(jump.near_branch_target(), jump.next_ip());
                let mnemonic = [Mnemonic::Jmp, Mnemonic::Jg, Mnemonic::Call][kind];
                assert_eq!(jump.mnemonic(), mnemonic);
                // At most one instruction fills the gap.
                assert!(code.len() <= count + 2);
                let padding = &code[count..code.len() - 1];
                assert!(padding.iter().all(|one| one.mnemonic() == Mnemonic::Nop));
                assert!(padding.iter().all(|one| one.len() < 4));
            }
        }
    }
}

#[test]
fn jumps_through_registers_and_memory() {
    let mut checker = Checker::new();
    for r in Reg::ALL {
        let register = part(Cell::D, r);
        checker.is(&format!("jmp {register}"), |a| a.jmp_r(r));
        checker.is(&format!("call {register}"), |a| a.call_r(r));
    }
    for mem in some_places() {
        let operand = place(Cell::D, mem);
        checker.is(&format!("jmp {operand}"), |a| a.jmp_m(mem));
        checker.is(&format!("call {operand}"), |a| a.call_m(mem));
    }
    checker.is("ret", Assembler::ret);
}

#[test]
fn the_stack() {
    let mut checker = Checker::new();
    for r in Reg::ALL {
        let register = part(Cell::D, r);
        checker.is(&format!("push {register}"), |a| a.push_r(r));
        checker.is(&format!("pop {register}"), |a| a.pop_r(r));
    }
}

#[test]
fn padding() {
    for len in 0..40 {
        let code = assembled(|a| a.nop(len));
        assert_eq!(code.len(), len);
        let nops = decoded(&code, ADDRESS);
        assert!(nops.iter().all(|one| one.mnemonic() == Mnemonic::Nop));
        assert_eq!(nops.len(), len.div_ceil(9));
    }
    for start in 0..32 {
        for alignment in [1, 2, 4, 8, 16, 32, 64] {
            let mut assembler = Assembler::new(ADDRESS + start);
            assembler.align(alignment);
            assert!(assembler.offset() < alignment);
            assert_eq!(assembler.address() % alignment as u64, 0);
            let nops = decoded(assembler.code(), 0);
            assert!(nops.iter().all(|one| one.mnemonic() == Mnemonic::Nop));
        }
    }
}
