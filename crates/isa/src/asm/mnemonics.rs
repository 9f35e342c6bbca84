//! The usual instructions by their names. The others go through [`Assembler::r`] and its like.

use super::register::{RA, ZERO};
use super::{Assembler, Label, X};
use crate::insn::Insn;
use crate::table::Op;

macro_rules! methods {
    ($kind:ident $arguments:tt: $($name:ident $op:ident)*) => {
        impl Assembler {
            $(methods!(@ $kind $arguments $name $op);)*
        }
    };
    (@ $kind:ident ($($argument:ident: $type:ty),*) $name:ident $op:ident) => {
        #[doc = concat!("`", stringify!($name), "`")]
        pub fn $name(&mut self, $($argument: $type),*) -> &mut Self {
            self.$kind(Op::$op, $($argument),*)
        }
    };
}

methods! { r(rd: X, rs1: X, rs2: X):
    add Add sub Sub sll Sll slt Slt sltu Sltu xor Xor srl Srl sra Sra or Or and And
    addw Addw subw Subw sllw Sllw srlw Srlw sraw Sraw
    mul Mul mulh Mulh mulhsu Mulhsu mulhu Mulhu div Div divu Divu rem Rem remu Remu
    mulw Mulw divw Divw divuw Divuw remw Remw remuw Remuw
}
methods! { i(rd: X, rs1: X, imm: i32):
    addi Addi slti Slti sltiu Sltiu xori Xori ori Ori andi Andi slli Slli srli Srli srai Srai
    addiw Addiw slliw Slliw srliw Srliw sraiw Sraiw
}
methods! { load(rd: X, imm: i32, rs1: X): lb Lb lbu Lbu lh Lh lhu Lhu lw Lw lwu Lwu ld Ld }
methods! { store(rs2: X, imm: i32, rs1: X): sb Sb sh Sh sw Sw sd Sd }
methods! { branch(rs1: X, rs2: X, label: Label):
    beq Beq bne Bne blt Blt bge Bge bltu Bltu bgeu Bgeu
}
methods! { csr(rd: X, csr: u16, rs1: X): csrrw Csrrw csrrs Csrrs csrrc Csrrc }
methods! { csr_immediate(rd: X, csr: u16, value: u8): csrrwi Csrrwi csrrsi Csrrsi csrrci Csrrci }
methods! { op():
    ecall Ecall ebreak Ebreak mret Mret sret Sret wfi Wfi fence_i FenceI
    sfence_w_inval SfenceWInval sfence_inval_ir SfenceInvalIr wrs_nto WrsNto wrs_sto WrsSto
}
methods! { address_fence(rs1: X, rs2: X):
    sfence_vma SfenceVma sinval_vma SinvalVma hfence_vvma HfenceVvma hfence_gvma HfenceGvma
}
methods! { cache_block(rs1: X):
    cbo_inval CboInval cbo_clean CboClean cbo_flush CboFlush cbo_zero CboZero
}

impl Assembler {
    /// `op` without operands.
    pub fn op(&mut self, op: Op) -> &mut Self {
        self.insn(Insn::new(op))
    }

    /// `op rs1, rs2`: fences of translations.
    pub fn address_fence(&mut self, op: Op, rs1: X, rs2: X) -> &mut Self {
        self.insn(Insn {
            rs1: rs1.0,
            rs2: rs2.0,
            ..Insn::new(op)
        })
    }

    /// `op (rs1)`: operations on cache blocks.
    pub fn cache_block(&mut self, op: Op, rs1: X) -> &mut Self {
        self.insn(Insn {
            rs1: rs1.0,
            ..Insn::new(op)
        })
    }

    /// `lui`; the low 12 bits of `value` must be zero.
    pub fn lui(&mut self, rd: X, value: i32) -> &mut Self {
        self.insn(Insn {
            rd: rd.0,
            imm: value,
            ..Insn::new(Op::Lui)
        })
    }

    /// `auipc`; the low 12 bits of `value` must be zero.
    pub fn auipc(&mut self, rd: X, value: i32) -> &mut Self {
        self.insn(Insn {
            rd: rd.0,
            imm: value,
            ..Insn::new(Op::Auipc)
        })
    }

    /// `jalr rd, imm(rs1)`
    pub fn jalr(&mut self, rd: X, imm: i32, rs1: X) -> &mut Self {
        self.i(Op::Jalr, rd, rs1, imm)
    }

    /// `fence iorw, iorw`
    pub fn fence(&mut self) -> &mut Self {
        self.insn(Insn {
            imm: 0xff,
            ..Insn::new(Op::Fence)
        })
    }

    /// `pause`
    pub fn pause(&mut self) -> &mut Self {
        self.insn(Insn {
            imm: 0x10,
            ..Insn::new(Op::Fence)
        })
    }

    /// `nop`
    pub fn nop(&mut self) -> &mut Self {
        self.addi(ZERO, ZERO, 0)
    }

    /// `mv rd, rs1`
    pub fn mv(&mut self, rd: X, rs1: X) -> &mut Self {
        self.addi(rd, rs1, 0)
    }

    /// `neg rd, rs1`
    pub fn neg(&mut self, rd: X, rs1: X) -> &mut Self {
        self.sub(rd, ZERO, rs1)
    }

    /// `j label`
    pub fn j(&mut self, label: Label) -> &mut Self {
        self.jal(ZERO, label)
    }

    /// `call label`, within 1 MiB.
    pub fn call(&mut self, label: Label) -> &mut Self {
        self.jal(RA, label)
    }

    /// `jr rs1`
    pub fn jr(&mut self, rs1: X) -> &mut Self {
        self.jalr(ZERO, 0, rs1)
    }

    /// `ret`
    pub fn ret(&mut self) -> &mut Self {
        self.jr(RA)
    }

    /// `beqz rs1, label`
    pub fn beqz(&mut self, rs1: X, label: Label) -> &mut Self {
        self.beq(rs1, ZERO, label)
    }

    /// `bnez rs1, label`
    pub fn bnez(&mut self, rs1: X, label: Label) -> &mut Self {
        self.bne(rs1, ZERO, label)
    }

    /// `csrr rd, csr`
    pub fn csrr(&mut self, rd: X, csr: u16) -> &mut Self {
        self.csrrs(rd, csr, ZERO)
    }

    /// `csrw csr, rs1`
    pub fn csrw(&mut self, csr: u16, rs1: X) -> &mut Self {
        self.csrrw(ZERO, csr, rs1)
    }

    /// `csrw csr, value`, by way of `scratch`.
    pub fn csr_set(&mut self, csr: u16, value: u64, scratch: X) -> &mut Self {
        self.li(scratch, value).csrw(csr, scratch)
    }

    /// `csrs csr, rs1`
    pub fn csrs(&mut self, csr: u16, rs1: X) -> &mut Self {
        self.csrrs(ZERO, csr, rs1)
    }

    /// `csrc csr, rs1`
    pub fn csrc(&mut self, csr: u16, rs1: X) -> &mut Self {
        self.csrrc(ZERO, csr, rs1)
    }

    /// `csrwi csr, value`
    pub fn csrwi(&mut self, csr: u16, value: u8) -> &mut Self {
        self.csrrwi(ZERO, csr, value)
    }

    /// `csrsi csr, value`
    pub fn csrsi(&mut self, csr: u16, value: u8) -> &mut Self {
        self.csrrsi(ZERO, csr, value)
    }

    /// `csrci csr, value`
    pub fn csrci(&mut self, csr: u16, value: u8) -> &mut Self {
        self.csrrci(ZERO, csr, value)
    }
}
