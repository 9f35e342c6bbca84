//! The instruction table: every 32-bit instruction in one row. The decoder, the encoder and the
//! disassembler are all made from it. What is compressed is in `compressed.rs`.

pub use crate::extension::Extension;
pub use crate::format::{Class, Format};

/// What the table says about one instruction.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which instruction.
    pub op: Op,
    /// Its name in the manual.
    pub mnemonic: &'static str,
    /// The layout of its operands.
    pub format: Format,
    /// Where it comes from.
    pub extension: Extension,
    /// The fixed bits; the others are zero. [`Format::mask`] says which ones are fixed.
    pub bits: u32,
}

macro_rules! instructions {
    ($($op:ident $mnemonic:literal $format:ident $extension:ident $bits:literal;)*) => {
        /// Which instruction: its mnemonic in camel case.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum Op {
            $(#[doc = concat!("`", $mnemonic, "`")] $op,)*
        }

        impl Op {
            /// Every instruction, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$op,)*];
        }

        /// The rows, in the order of [`Op::ALL`].
        pub(crate) const ROWS: [Row; Op::ALL.len()] = [$(Row {
            op: Op::$op,
            mnemonic: $mnemonic,
            format: Format::$format,
            extension: Extension::$extension,
            bits: $bits,
        },)*];
    };
}

/// The same, as one object in memory.
pub(crate) static TABLE: [Row; ROWS.len()] = ROWS;

impl Op {
    /// This instruction's row of the table.
    #[inline]
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name in the manual.
    pub fn mnemonic(self) -> &'static str {
        self.row().mnemonic
    }

    /// The layout of the operands.
    pub fn format(self) -> Format {
        self.row().format
    }

    /// The extension that brings the instruction. What Zfhmin has too counts as Zfh.
    pub fn extension(self) -> Extension {
        self.row().extension
    }

    /// What kind of instruction it is.
    pub fn class(self) -> Class {
        self.row().format.class()
    }

    /// Whether a straight run of predecoded or translated code ends here: the next instruction
    /// is somewhere else, or the rules under which it is fetched may have changed.
    pub fn ends_block(self) -> bool {
        match self.class() {
            Class::Branch | Class::Jump | Class::Csr | Class::System => true,
            Class::Fence => matches!(self, Self::FenceI),
            _ => false,
        }
    }

    /// Whether memory is read or written by a load, a store or an atomic.
    pub fn accesses_memory(self) -> bool {
        matches!(self.class(), Class::Load | Class::Store | Class::Atomic)
    }

    /// Whether floating-point registers or `fcsr` are involved, so that `mstatus.FS` must allow it.
    pub fn is_float(self) -> bool {
        let format = self.format();
        matches!(format, Format::FloatLoad | Format::FloatStore) || format.class() == Class::Float
    }
}

instructions! {
    // RV64I.
    Lui "lui" Upper I 0x0000_0037;
    Auipc "auipc" Upper I 0x0000_0017;
    Jal "jal" Jump I 0x0000_006f;
    Jalr "jalr" JumpRegister I 0x0000_0067;
    Beq "beq" Branch I 0x0000_0063;
    Bne "bne" Branch I 0x0000_1063;
    Blt "blt" Branch I 0x0000_4063;
    Bge "bge" Branch I 0x0000_5063;
    Bltu "bltu" Branch I 0x0000_6063;
    Bgeu "bgeu" Branch I 0x0000_7063;
    Lb "lb" Load I 0x0000_0003;
    Lh "lh" Load I 0x0000_1003;
    Lw "lw" Load I 0x0000_2003;
    Ld "ld" Load I 0x0000_3003;
    Lbu "lbu" Load I 0x0000_4003;
    Lhu "lhu" Load I 0x0000_5003;
    Lwu "lwu" Load I 0x0000_6003;
    Sb "sb" Store I 0x0000_0023;
    Sh "sh" Store I 0x0000_1023;
    Sw "sw" Store I 0x0000_2023;
    Sd "sd" Store I 0x0000_3023;
    Addi "addi" I I 0x0000_0013;
    Slti "slti" I I 0x0000_2013;
    Sltiu "sltiu" I I 0x0000_3013;
    Xori "xori" I I 0x0000_4013;
    Ori "ori" I I 0x0000_6013;
    Andi "andi" I I 0x0000_7013;
    Slli "slli" Shift64 I 0x0000_1013;
    Srli "srli" Shift64 I 0x0000_5013;
    Srai "srai" Shift64 I 0x4000_5013;
    Add "add" R I 0x0000_0033;
    Sub "sub" R I 0x4000_0033;
    Sll "sll" R I 0x0000_1033;
    Slt "slt" R I 0x0000_2033;
    Sltu "sltu" R I 0x0000_3033;
    Xor "xor" R I 0x0000_4033;
    Srl "srl" R I 0x0000_5033;
    Sra "sra" R I 0x4000_5033;
    Or "or" R I 0x0000_6033;
    And "and" R I 0x0000_7033;
    Addiw "addiw" I I 0x0000_001b;
    Slliw "slliw" Shift32 I 0x0000_101b;
    Srliw "srliw" Shift32 I 0x0000_501b;
    Sraiw "sraiw" Shift32 I 0x4000_501b;
    Addw "addw" R I 0x0000_003b;
    Subw "subw" R I 0x4000_003b;
    Sllw "sllw" R I 0x0000_103b;
    Srlw "srlw" R I 0x0000_503b;
    Sraw "sraw" R I 0x4000_503b;
    Fence "fence" Fence I 0x0000_000f;
    Ecall "ecall" System I 0x0000_0073;
    Ebreak "ebreak" System I 0x0010_0073;

    // Zifencei and Zicsr.
    FenceI "fence.i" Fence Zifencei 0x0000_100f;
    Csrrw "csrrw" Csr Zicsr 0x0000_1073;
    Csrrs "csrrs" Csr Zicsr 0x0000_2073;
    Csrrc "csrrc" Csr Zicsr 0x0000_3073;
    Csrrwi "csrrwi" CsrImmediate Zicsr 0x0000_5073;
    Csrrsi "csrrsi" CsrImmediate Zicsr 0x0000_6073;
    Csrrci "csrrci" CsrImmediate Zicsr 0x0000_7073;

    // M.
    Mul "mul" R M 0x0200_0033;
    Mulh "mulh" R M 0x0200_1033;
    Mulhsu "mulhsu" R M 0x0200_2033;
    Mulhu "mulhu" R M 0x0200_3033;
    Div "div" R M 0x0200_4033;
    Divu "divu" R M 0x0200_5033;
    Rem "rem" R M 0x0200_6033;
    Remu "remu" R M 0x0200_7033;
    Mulw "mulw" R M 0x0200_003b;
    Divw "divw" R M 0x0200_403b;
    Divuw "divuw" R M 0x0200_503b;
    Remw "remw" R M 0x0200_603b;
    Remuw "remuw" R M 0x0200_703b;

    // A.
    LrW "lr.w" LoadReserved A 0x1000_202f;
    ScW "sc.w" Atomic A 0x1800_202f;
    AmoswapW "amoswap.w" Atomic A 0x0800_202f;
    AmoaddW "amoadd.w" Atomic A 0x0000_202f;
    AmoxorW "amoxor.w" Atomic A 0x2000_202f;
    AmoandW "amoand.w" Atomic A 0x6000_202f;
    AmoorW "amoor.w" Atomic A 0x4000_202f;
    AmominW "amomin.w" Atomic A 0x8000_202f;
    AmomaxW "amomax.w" Atomic A 0xa000_202f;
    AmominuW "amominu.w" Atomic A 0xc000_202f;
    AmomaxuW "amomaxu.w" Atomic A 0xe000_202f;
    LrD "lr.d" LoadReserved A 0x1000_302f;
    ScD "sc.d" Atomic A 0x1800_302f;
    AmoswapD "amoswap.d" Atomic A 0x0800_302f;
    AmoaddD "amoadd.d" Atomic A 0x0000_302f;
    AmoxorD "amoxor.d" Atomic A 0x2000_302f;
    AmoandD "amoand.d" Atomic A 0x6000_302f;
    AmoorD "amoor.d" Atomic A 0x4000_302f;
    AmominD "amomin.d" Atomic A 0x8000_302f;
    AmomaxD "amomax.d" Atomic A 0xa000_302f;
    AmominuD "amominu.d" Atomic A 0xc000_302f;
    AmomaxuD "amomaxu.d" Atomic A 0xe000_302f;

    // Zabha and Zacas.
    AmoswapB "amoswap.b" Atomic Zabha 0x0800_002f;
    AmoaddB "amoadd.b" Atomic Zabha 0x0000_002f;
    AmoxorB "amoxor.b" Atomic Zabha 0x2000_002f;
    AmoandB "amoand.b" Atomic Zabha 0x6000_002f;
    AmoorB "amoor.b" Atomic Zabha 0x4000_002f;
    AmominB "amomin.b" Atomic Zabha 0x8000_002f;
    AmomaxB "amomax.b" Atomic Zabha 0xa000_002f;
    AmominuB "amominu.b" Atomic Zabha 0xc000_002f;
    AmomaxuB "amomaxu.b" Atomic Zabha 0xe000_002f;
    AmoswapH "amoswap.h" Atomic Zabha 0x0800_102f;
    AmoaddH "amoadd.h" Atomic Zabha 0x0000_102f;
    AmoxorH "amoxor.h" Atomic Zabha 0x2000_102f;
    AmoandH "amoand.h" Atomic Zabha 0x6000_102f;
    AmoorH "amoor.h" Atomic Zabha 0x4000_102f;
    AmominH "amomin.h" Atomic Zabha 0x8000_102f;
    AmomaxH "amomax.h" Atomic Zabha 0xa000_102f;
    AmominuH "amominu.h" Atomic Zabha 0xc000_102f;
    AmomaxuH "amomaxu.h" Atomic Zabha 0xe000_102f;
    AmocasB "amocas.b" Atomic Zabha 0x2800_002f;
    AmocasH "amocas.h" Atomic Zabha 0x2800_102f;
    AmocasW "amocas.w" Atomic Zacas 0x2800_202f;
    AmocasD "amocas.d" Atomic Zacas 0x2800_302f;
    AmocasQ "amocas.q" AtomicPair Zacas 0x2800_402f;

    // F.
    Flw "flw" FloatLoad F 0x0000_2007;
    Fsw "fsw" FloatStore F 0x0000_2027;
    FmaddS "fmadd.s" FloatFused F 0x0000_0043;
    FmsubS "fmsub.s" FloatFused F 0x0000_0047;
    FnmsubS "fnmsub.s" FloatFused F 0x0000_004b;
    FnmaddS "fnmadd.s" FloatFused F 0x0000_004f;
    FaddS "fadd.s" FloatRounded F 0x0000_0053;
    FsubS "fsub.s" FloatRounded F 0x0800_0053;
    FmulS "fmul.s" FloatRounded F 0x1000_0053;
    FdivS "fdiv.s" FloatRounded F 0x1800_0053;
    FsqrtS "fsqrt.s" FloatUnaryRounded F 0x5800_0053;
    FsgnjS "fsgnj.s" Float F 0x2000_0053;
    FsgnjnS "fsgnjn.s" Float F 0x2000_1053;
    FsgnjxS "fsgnjx.s" Float F 0x2000_2053;
    FminS "fmin.s" Float F 0x2800_0053;
    FmaxS "fmax.s" Float F 0x2800_1053;
    FleS "fle.s" FloatCompare F 0xa000_0053;
    FltS "flt.s" FloatCompare F 0xa000_1053;
    FeqS "feq.s" FloatCompare F 0xa000_2053;
    FclassS "fclass.s" FloatToInteger F 0xe000_1053;
    FmvXW "fmv.x.w" FloatToInteger F 0xe000_0053;
    FmvWX "fmv.w.x" IntegerToFloat F 0xf000_0053;
    FcvtWS "fcvt.w.s" FloatToIntegerRounded F 0xc000_0053;
    FcvtWuS "fcvt.wu.s" FloatToIntegerRounded F 0xc010_0053;
    FcvtLS "fcvt.l.s" FloatToIntegerRounded F 0xc020_0053;
    FcvtLuS "fcvt.lu.s" FloatToIntegerRounded F 0xc030_0053;
    FcvtSW "fcvt.s.w" IntegerToFloatRounded F 0xd000_0053;
    FcvtSWu "fcvt.s.wu" IntegerToFloatRounded F 0xd010_0053;
    FcvtSL "fcvt.s.l" IntegerToFloatRounded F 0xd020_0053;
    FcvtSLu "fcvt.s.lu" IntegerToFloatRounded F 0xd030_0053;

    // D.
    Fld "fld" FloatLoad D 0x0000_3007;
    Fsd "fsd" FloatStore D 0x0000_3027;
    FmaddD "fmadd.d" FloatFused D 0x0200_0043;
    FmsubD "fmsub.d" FloatFused D 0x0200_0047;
    FnmsubD "fnmsub.d" FloatFused D 0x0200_004b;
    FnmaddD "fnmadd.d" FloatFused D 0x0200_004f;
    FaddD "fadd.d" FloatRounded D 0x0200_0053;
    FsubD "fsub.d" FloatRounded D 0x0a00_0053;
    FmulD "fmul.d" FloatRounded D 0x1200_0053;
    FdivD "fdiv.d" FloatRounded D 0x1a00_0053;
    FsqrtD "fsqrt.d" FloatUnaryRounded D 0x5a00_0053;
    FsgnjD "fsgnj.d" Float D 0x2200_0053;
    FsgnjnD "fsgnjn.d" Float D 0x2200_1053;
    FsgnjxD "fsgnjx.d" Float D 0x2200_2053;
    FminD "fmin.d" Float D 0x2a00_0053;
    FmaxD "fmax.d" Float D 0x2a00_1053;
    FleD "fle.d" FloatCompare D 0xa200_0053;
    FltD "flt.d" FloatCompare D 0xa200_1053;
    FeqD "feq.d" FloatCompare D 0xa200_2053;
    FclassD "fclass.d" FloatToInteger D 0xe200_1053;
    FmvXD "fmv.x.d" FloatToInteger D 0xe200_0053;
    FmvDX "fmv.d.x" IntegerToFloat D 0xf200_0053;
    FcvtWD "fcvt.w.d" FloatToIntegerRounded D 0xc200_0053;
    FcvtWuD "fcvt.wu.d" FloatToIntegerRounded D 0xc210_0053;
    FcvtLD "fcvt.l.d" FloatToIntegerRounded D 0xc220_0053;
    FcvtLuD "fcvt.lu.d" FloatToIntegerRounded D 0xc230_0053;
    FcvtDW "fcvt.d.w" IntegerToFloatRounded D 0xd200_0053;
    FcvtDWu "fcvt.d.wu" IntegerToFloatRounded D 0xd210_0053;
    FcvtDL "fcvt.d.l" IntegerToFloatRounded D 0xd220_0053;
    FcvtDLu "fcvt.d.lu" IntegerToFloatRounded D 0xd230_0053;
    FcvtSD "fcvt.s.d" FloatUnaryRounded D 0x4010_0053;
    FcvtDS "fcvt.d.s" FloatUnaryRounded D 0x4200_0053;

    // Zfh, Zfhmin included.
    Flh "flh" FloatLoad Zfh 0x0000_1007;
    Fsh "fsh" FloatStore Zfh 0x0000_1027;
    FmaddH "fmadd.h" FloatFused Zfh 0x0400_0043;
    FmsubH "fmsub.h" FloatFused Zfh 0x0400_0047;
    FnmsubH "fnmsub.h" FloatFused Zfh 0x0400_004b;
    FnmaddH "fnmadd.h" FloatFused Zfh 0x0400_004f;
    FaddH "fadd.h" FloatRounded Zfh 0x0400_0053;
    FsubH "fsub.h" FloatRounded Zfh 0x0c00_0053;
    FmulH "fmul.h" FloatRounded Zfh 0x1400_0053;
    FdivH "fdiv.h" FloatRounded Zfh 0x1c00_0053;
    FsqrtH "fsqrt.h" FloatUnaryRounded Zfh 0x5c00_0053;
    FsgnjH "fsgnj.h" Float Zfh 0x2400_0053;
    FsgnjnH "fsgnjn.h" Float Zfh 0x2400_1053;
    FsgnjxH "fsgnjx.h" Float Zfh 0x2400_2053;
    FminH "fmin.h" Float Zfh 0x2c00_0053;
    FmaxH "fmax.h" Float Zfh 0x2c00_1053;
    FleH "fle.h" FloatCompare Zfh 0xa400_0053;
    FltH "flt.h" FloatCompare Zfh 0xa400_1053;
    FeqH "feq.h" FloatCompare Zfh 0xa400_2053;
    FclassH "fclass.h" FloatToInteger Zfh 0xe400_1053;
    FmvXH "fmv.x.h" FloatToInteger Zfh 0xe400_0053;
    FmvHX "fmv.h.x" IntegerToFloat Zfh 0xf400_0053;
    FcvtWH "fcvt.w.h" FloatToIntegerRounded Zfh 0xc400_0053;
    FcvtWuH "fcvt.wu.h" FloatToIntegerRounded Zfh 0xc410_0053;
    FcvtLH "fcvt.l.h" FloatToIntegerRounded Zfh 0xc420_0053;
    FcvtLuH "fcvt.lu.h" FloatToIntegerRounded Zfh 0xc430_0053;
    FcvtHW "fcvt.h.w" IntegerToFloatRounded Zfh 0xd400_0053;
    FcvtHWu "fcvt.h.wu" IntegerToFloatRounded Zfh 0xd410_0053;
    FcvtHL "fcvt.h.l" IntegerToFloatRounded Zfh 0xd420_0053;
    FcvtHLu "fcvt.h.lu" IntegerToFloatRounded Zfh 0xd430_0053;
    FcvtSH "fcvt.s.h" FloatUnaryRounded Zfh 0x4020_0053;
    FcvtHS "fcvt.h.s" FloatUnaryRounded Zfh 0x4400_0053;
    FcvtDH "fcvt.d.h" FloatUnaryRounded Zfh 0x4220_0053;
    FcvtHD "fcvt.h.d" FloatUnaryRounded Zfh 0x4410_0053;

    // Zfa.
    FliS "fli.s" FloatConstant Zfa 0xf010_0053;
    FminmS "fminm.s" Float Zfa 0x2800_2053;
    FmaxmS "fmaxm.s" Float Zfa 0x2800_3053;
    FroundS "fround.s" FloatUnaryRounded Zfa 0x4040_0053;
    FroundnxS "froundnx.s" FloatUnaryRounded Zfa 0x4050_0053;
    FleqS "fleq.s" FloatCompare Zfa 0xa000_4053;
    FltqS "fltq.s" FloatCompare Zfa 0xa000_5053;
    FliD "fli.d" FloatConstant Zfa 0xf210_0053;
    FminmD "fminm.d" Float Zfa 0x2a00_2053;
    FmaxmD "fmaxm.d" Float Zfa 0x2a00_3053;
    FroundD "fround.d" FloatUnaryRounded Zfa 0x4240_0053;
    FroundnxD "froundnx.d" FloatUnaryRounded Zfa 0x4250_0053;
    FleqD "fleq.d" FloatCompare Zfa 0xa200_4053;
    FltqD "fltq.d" FloatCompare Zfa 0xa200_5053;
    FliH "fli.h" FloatConstant Zfa 0xf410_0053;
    FminmH "fminm.h" Float Zfa 0x2c00_2053;
    FmaxmH "fmaxm.h" Float Zfa 0x2c00_3053;
    FroundH "fround.h" FloatUnaryRounded Zfa 0x4440_0053;
    FroundnxH "froundnx.h" FloatUnaryRounded Zfa 0x4450_0053;
    FleqH "fleq.h" FloatCompare Zfa 0xa400_4053;
    FltqH "fltq.h" FloatCompare Zfa 0xa400_5053;
    FcvtmodWD "fcvtmod.w.d" FloatToInteger Zfa 0xc280_1053;

    // Zba.
    AddUw "add.uw" R Zba 0x0800_003b;
    Sh1add "sh1add" R Zba 0x2000_2033;
    Sh2add "sh2add" R Zba 0x2000_4033;
    Sh3add "sh3add" R Zba 0x2000_6033;
    Sh1addUw "sh1add.uw" R Zba 0x2000_203b;
    Sh2addUw "sh2add.uw" R Zba 0x2000_403b;
    Sh3addUw "sh3add.uw" R Zba 0x2000_603b;
    SlliUw "slli.uw" Shift64 Zba 0x0800_101b;

    // Zbb.
    Andn "andn" R Zbb 0x4000_7033;
    Orn "orn" R Zbb 0x4000_6033;
    Xnor "xnor" R Zbb 0x4000_4033;
    Max "max" R Zbb 0x0a00_6033;
    Maxu "maxu" R Zbb 0x0a00_7033;
    Min "min" R Zbb 0x0a00_4033;
    Minu "minu" R Zbb 0x0a00_5033;
    Rol "rol" R Zbb 0x6000_1033;
    Rolw "rolw" R Zbb 0x6000_103b;
    Ror "ror" R Zbb 0x6000_5033;
    Rorw "rorw" R Zbb 0x6000_503b;
    Rori "rori" Shift64 Zbb 0x6000_5013;
    Roriw "roriw" Shift32 Zbb 0x6000_501b;
    Clz "clz" RUnary Zbb 0x6000_1013;
    Clzw "clzw" RUnary Zbb 0x6000_101b;
    Ctz "ctz" RUnary Zbb 0x6010_1013;
    Ctzw "ctzw" RUnary Zbb 0x6010_101b;
    Cpop "cpop" RUnary Zbb 0x6020_1013;
    Cpopw "cpopw" RUnary Zbb 0x6020_101b;
    SextB "sext.b" RUnary Zbb 0x6040_1013;
    SextH "sext.h" RUnary Zbb 0x6050_1013;
    ZextH "zext.h" RUnary Zbb 0x0800_403b;
    OrcB "orc.b" RUnary Zbb 0x2870_5013;
    Rev8 "rev8" RUnary Zbb 0x6b80_5013;

    // Zbc.
    Clmul "clmul" R Zbc 0x0a00_1033;
    Clmulr "clmulr" R Zbc 0x0a00_2033;
    Clmulh "clmulh" R Zbc 0x0a00_3033;

    // Zbs.
    Bclr "bclr" R Zbs 0x4800_1033;
    Bext "bext" R Zbs 0x4800_5033;
    Binv "binv" R Zbs 0x6800_1033;
    Bset "bset" R Zbs 0x2800_1033;
    Bclri "bclri" Shift64 Zbs 0x4800_1013;
    Bexti "bexti" Shift64 Zbs 0x4800_5013;
    Binvi "binvi" Shift64 Zbs 0x6800_1013;
    Bseti "bseti" Shift64 Zbs 0x2800_1013;

    // Zbkb and Zbkx.
    Pack "pack" R Zbkb 0x0800_4033;
    Packh "packh" R Zbkb 0x0800_7033;
    Packw "packw" R Zbkb 0x0800_403b;
    Brev8 "brev8" RUnary Zbkb 0x6870_5013;
    Xperm4 "xperm4" R Zbkx 0x2800_2033;
    Xperm8 "xperm8" R Zbkx 0x2800_4033;

    // Zicond.
    CzeroEqz "czero.eqz" R Zicond 0x0e00_5033;
    CzeroNez "czero.nez" R Zicond 0x0e00_7033;

    // Zicbom and Zicboz. Prefetches and the other hints are the instructions whose space they use.
    CboInval "cbo.inval" CacheBlock Zicbom 0x0000_200f;
    CboClean "cbo.clean" CacheBlock Zicbom 0x0010_200f;
    CboFlush "cbo.flush" CacheBlock Zicbom 0x0020_200f;
    CboZero "cbo.zero" CacheBlock Zicboz 0x0040_200f;

    // Zawrs.
    WrsNto "wrs.nto" System Zawrs 0x00d0_0073;
    WrsSto "wrs.sto" System Zawrs 0x01d0_0073;

    // Zimop and Zcmop.
    MopR "mop.r" MayBeUnary Zimop 0x81c0_4073;
    MopRr "mop.rr" MayBeBinary Zimop 0x8200_4073;
    CMop "c.mop" MayBeCompressed Zcmop 0x0000_0000;

    // Privileged.
    Sret "sret" System Supervisor 0x1020_0073;
    Mret "mret" System Machine 0x3020_0073;
    Wfi "wfi" System Machine 0x1050_0073;
    SfenceVma "sfence.vma" AddressFence Supervisor 0x1200_0073;

    // Svinval.
    SinvalVma "sinval.vma" AddressFence Svinval 0x1600_0073;
    SfenceWInval "sfence.w.inval" System Svinval 0x1800_0073;
    SfenceInvalIr "sfence.inval.ir" System Svinval 0x1810_0073;
    HinvalVvma "hinval.vvma" AddressFence Svinval 0x2600_0073;
    HinvalGvma "hinval.gvma" AddressFence Svinval 0x6600_0073;

    // H.
    HfenceVvma "hfence.vvma" AddressFence H 0x2200_0073;
    HfenceGvma "hfence.gvma" AddressFence H 0x6200_0073;
    HlvB "hlv.b" GuestLoad H 0x6000_4073;
    HlvBu "hlv.bu" GuestLoad H 0x6010_4073;
    HlvH "hlv.h" GuestLoad H 0x6400_4073;
    HlvHu "hlv.hu" GuestLoad H 0x6410_4073;
    HlvxHu "hlvx.hu" GuestLoad H 0x6430_4073;
    HlvW "hlv.w" GuestLoad H 0x6800_4073;
    HlvWu "hlv.wu" GuestLoad H 0x6810_4073;
    HlvxWu "hlvx.wu" GuestLoad H 0x6830_4073;
    HlvD "hlv.d" GuestLoad H 0x6c00_4073;
    HsvB "hsv.b" GuestStore H 0x6200_4073;
    HsvH "hsv.h" GuestStore H 0x6600_4073;
    HsvW "hsv.w" GuestStore H 0x6a00_4073;
    HsvD "hsv.d" GuestStore H 0x6e00_4073;
}
