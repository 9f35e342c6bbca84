//! Base extension (SBI 2.0, 4).

use sbi_spec::base::{
    GET_MARCHID, GET_MIMPID, GET_MVENDORID, GET_SBI_IMPL_ID, GET_SBI_IMPL_VERSION,
    GET_SBI_SPEC_VERSION, PROBE_EXTENSION,
};
use sbi_spec::binary::Error;

use super::{Answer, Call, Reply, extension, legacy};

/// Version 2.0.
const SPECIFICATION: u64 = 2 << 24;
/// "ring": not one of the registered implementations.
const IMPLEMENTATION: u64 = 0x7269_6e67;
const VERSION: u64 = 1;

pub(super) fn answer(call: Call<'_>) -> Reply {
    let value = match call.function as usize {
        GET_SBI_SPEC_VERSION => SPECIFICATION,
        GET_SBI_IMPL_ID => IMPLEMENTATION,
        GET_SBI_IMPL_VERSION => VERSION,
        PROBE_EXTENSION => {
            let id = call.args[0];
            u64::from(id <= legacy::LAST || extension(id).is_some())
        }
        // As the CSRs of those names have it: not said.
        GET_MVENDORID | GET_MARCHID | GET_MIMPID => 0,
        _ => return Err(Error::NotSupported),
    };
    Ok(Answer::Value(value))
}
