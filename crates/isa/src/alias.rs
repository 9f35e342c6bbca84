//! The names that assembly code uses for special cases of instructions.

use crate::insn::Insn;
use crate::table::Op;

/// A special case: the fields that make it one, and how it is written.
#[derive(Clone, Copy)]
pub(crate) struct Alias {
    op: Op,
    rd: Option<u8>,
    rs1: Option<u8>,
    rs2: Option<u8>,
    imm: Option<i32>,
    len: Option<u8>,
    /// The two sources are the same register.
    twice: bool,
    pub(crate) mnemonic: &'static str,
    /// See [`crate::disassemble::Operands`].
    pub(crate) operands: &'static str,
}

/// The first alias that an instruction matches.
pub(crate) fn find(insn: &Insn) -> Option<&'static Alias> {
    let agrees = |wanted: Option<u8>, is: u8| wanted.is_none_or(|wanted| wanted == is);
    ALIASES.iter().find(|alias| {
        alias.op == insn.op
            && agrees(alias.rd, insn.rd)
            && agrees(alias.rs1, insn.rs1)
            && agrees(alias.rs2, insn.rs2)
            && agrees(alias.len, insn.len)
            && alias.imm.is_none_or(|imm| imm == insn.imm)
            && !(alias.twice && insn.rs1 != insn.rs2)
    })
}

const ANY: Alias = Alias {
    op: Op::Addi,
    rd: None,
    rs1: None,
    rs2: None,
    imm: None,
    len: None,
    twice: false,
    mnemonic: "",
    operands: "",
};

macro_rules! aliases {
    ($($op:ident $($field:ident = $value:expr),* => $mnemonic:literal $operands:literal;)*) => {
        &[$(Alias {
            op: Op::$op,
            $($field: aliases!(@ $field $value),)*
            mnemonic: $mnemonic,
            operands: $operands,
            ..ANY
        },)*]
    };
    (@ twice $value:expr) => { $value };
    (@ $field:ident $value:expr) => { Some($value) };
}

/// Special cases of one instruction stand before its more general ones.
static ALIASES: &[Alias] = aliases! {
    Addi rd = 0, rs1 = 0, imm = 0 => "nop" "";
    Addi rs1 = 0 => "li" "d,i";
    Addi imm = 0 => "mv" "d,s";
    Addiw imm = 0 => "sext.w" "d,s";
    Andi imm = 255 => "zext.b" "d,s";
    Xori imm = -1 => "not" "d,s";
    Sltiu imm = 1 => "seqz" "d,s";
    Slt rs2 = 0 => "sltz" "d,s";
    Slt rs1 = 0 => "sgtz" "d,t";
    Sltu rs1 = 0 => "snez" "d,t";
    Sub rs1 = 0 => "neg" "d,t";
    Subw rs1 = 0 => "negw" "d,t";
    AddUw rs2 = 0 => "zext.w" "d,s";
    Add rd = 0, rs1 = 0, rs2 = 2 => "ntl.p1" "";
    Add rd = 0, rs1 = 0, rs2 = 3 => "ntl.pall" "";
    Add rd = 0, rs1 = 0, rs2 = 4 => "ntl.s1" "";
    Add rd = 0, rs1 = 0, rs2 = 5 => "ntl.all" "";
    Add rs1 = 0, len = 2 => "mv" "d,t";
    Beq rs2 = 0 => "beqz" "s,p";
    Bne rs2 = 0 => "bnez" "s,p";
    Bge rs1 = 0 => "blez" "t,p";
    Bge rs2 = 0 => "bgez" "s,p";
    Blt rs2 = 0 => "bltz" "s,p";
    Blt rs1 = 0 => "bgtz" "t,p";
    Jal rd = 0 => "j" "p";
    Jal rd = 1 => "jal" "p";
    Jalr rd = 0, rs1 = 1, imm = 0 => "ret" "";
    Jalr rd = 0, imm = 0 => "jr" "s";
    Jalr rd = 0 => "jr" "i(s)";
    Jalr rd = 1, imm = 0 => "jalr" "s";
    Jalr rd = 1 => "jalr" "i(s)";
    Jalr imm = 0 => "jalr" "d,s";
    Fence rd = 0, rs1 = 0, imm = 0x010 => "pause" "";
    Fence rd = 0, rs1 = 0, imm = 0x0ff => "fence" "";
    Fence rd = 0, rs1 = 0, imm = 0x833 => "fence.tso" "";
    FenceI => "fence.i" "";
    Csrrw rd = 0, rs1 = 0, imm = 0xc00 => "unimp" "";
    Csrrs rs1 = 0, imm = 0x001 => "frflags" "d";
    Csrrs rs1 = 0, imm = 0x002 => "frrm" "d";
    Csrrs rs1 = 0, imm = 0x003 => "frcsr" "d";
    Csrrs rs1 = 0, imm = 0xc00 => "rdcycle" "d";
    Csrrs rs1 = 0, imm = 0xc01 => "rdtime" "d";
    Csrrs rs1 = 0, imm = 0xc02 => "rdinstret" "d";
    Csrrs rs1 = 0 => "csrr" "d,c";
    Csrrw rd = 0, imm = 0x001 => "fsflags" "s";
    Csrrw rd = 0, imm = 0x002 => "fsrm" "s";
    Csrrw rd = 0, imm = 0x003 => "fscsr" "s";
    Csrrw rd = 0 => "csrw" "c,s";
    Csrrw imm = 0x001 => "fsflags" "d,s";
    Csrrw imm = 0x002 => "fsrm" "d,s";
    Csrrw imm = 0x003 => "fscsr" "d,s";
    Csrrs rd = 0 => "csrs" "c,s";
    Csrrc rd = 0 => "csrc" "c,s";
    Csrrwi rd = 0, imm = 0x001 => "fsflagsi" "z";
    Csrrwi rd = 0, imm = 0x002 => "fsrmi" "z";
    Csrrwi rd = 0 => "csrwi" "c,z";
    Csrrwi imm = 0x001 => "fsflagsi" "d,z";
    Csrrwi imm = 0x002 => "fsrmi" "d,z";
    Csrrsi rd = 0 => "csrsi" "c,z";
    Csrrci rd = 0 => "csrci" "c,z";
    SfenceVma rs1 = 0, rs2 = 0 => "sfence.vma" "";
    SfenceVma rs2 = 0 => "sfence.vma" "s";
    HfenceVvma rs1 = 0, rs2 = 0 => "hfence.vvma" "";
    HfenceVvma rs2 = 0 => "hfence.vvma" "s";
    HfenceGvma rs1 = 0, rs2 = 0 => "hfence.gvma" "";
    HfenceGvma rs2 = 0 => "hfence.gvma" "s";
    FsgnjS twice = true => "fmv.s" "D,S";
    FsgnjD twice = true => "fmv.d" "D,S";
    FsgnjH twice = true => "fmv.h" "D,S";
    FsgnjnS twice = true => "fneg.s" "D,S";
    FsgnjnD twice = true => "fneg.d" "D,S";
    FsgnjnH twice = true => "fneg.h" "D,S";
    FsgnjxS twice = true => "fabs.s" "D,S";
    FsgnjxD twice = true => "fabs.d" "D,S";
    FsgnjxH twice = true => "fabs.h" "D,S";
};
