//! Performance monitoring (SBI 2.0, 11) on the harts' own counters. A counter's number here is
//! its number in `mcountinhibit`; number 1, `time`, cannot be configured and does not exist.

use ringer_hart::counter::{COUNTERS, CYCLE, Event, INSTRET};
use sbi_spec::binary::Error;
use sbi_spec::pmu::event_type::{HARDWARE_CACHE, HARDWARE_GENERAL, HARDWARE_RAW, HARDWARE_RAW_V2};
use sbi_spec::pmu::flags::{CounterCfgFlags, CounterStartFlags, CounterStopFlags};
use sbi_spec::pmu::{
    COUNTER_CONFIG_MATCHING, COUNTER_FW_READ, COUNTER_GET_INFO, COUNTER_START, COUNTER_STOP,
    NUM_COUNTERS, cache_event, cache_operation, cache_result, hardware_event,
};

use super::{Answer, Call, DONE, Reply};

const TIME: usize = 1;
/// CSR of counter 0 as S-mode reads it.
const FIRST_CSR: u64 = 0xc00;
/// One less than the bits in a counter, where `counter_get_info` has it.
const WIDTH: u64 = 63 << 12;

pub(super) fn answer(mut call: Call<'_>) -> Reply {
    let [first, second, third, fourth, fifth, _] = call.args;
    match call.function as usize {
        NUM_COUNTERS => Ok(Answer::Value(COUNTERS as u64)),
        COUNTER_GET_INFO => match counter(first) {
            Some(index) => Ok(Answer::Value((FIRST_CSR + index as u64) | WIDTH)),
            None => Err(Error::InvalidParam),
        },
        COUNTER_CONFIG_MATCHING => {
            let flags = CounterCfgFlags::from_bits(third as usize).ok_or(Error::InvalidParam)?;
            configure(&mut call, first, second, flags, fourth, fifth)
        }
        COUNTER_START => {
            let flags = CounterStartFlags::from_bits(third as usize).ok_or(Error::InvalidParam)?;
            start(&mut call, first, second, flags, fourth)
        }
        COUNTER_STOP => {
            let flags = CounterStopFlags::from_bits(third as usize).ok_or(Error::InvalidParam)?;
            stop(&mut call, first, second, flags)
        }
        // Reads a firmware counter, and none of these is one.
        COUNTER_FW_READ => Err(Error::InvalidParam),
        _ => Err(Error::NotSupported),
    }
}

fn counter(index: u64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    (index < COUNTERS && index != TIME).then_some(index)
}

/// The counters in `mask` from `base` on; all must exist.
fn counters(base: u64, mask: u64) -> Result<u32, Error<u64>> {
    let shift = u32::try_from(base).map_err(|_| Error::InvalidParam)?;
    let all = u64::from(u32::MAX) & !(1 << TIME);
    let wanted = mask.checked_shl(shift).ok_or(Error::InvalidParam)?;
    let lost = wanted >> shift != mask;
    if mask == 0 || lost || wanted & !all != 0 {
        return Err(Error::InvalidParam);
    }
    Ok(wanted as u32)
}

/// What a counter counts to count the event that the SBI calls `index`.
fn event(index: u64, data: u64) -> Option<Event> {
    let code = (index & 0xffff) as usize;
    let selector = match (index >> 16) as usize {
        HARDWARE_GENERAL => match code {
            hardware_event::CPU_CYCLES | hardware_event::REF_CPU_CYCLES => Event::Cycles,
            hardware_event::INSTRUCTIONS => Event::Instructions,
            _ => return None,
        },
        HARDWARE_CACHE => {
            let read_miss = cache_operation::READ << 1 | cache_result::MISS;
            if code != cache_event::DTLB << 3 | read_miss {
                return None;
            }
            Event::Walks
        }
        HARDWARE_RAW | HARDWARE_RAW_V2 => Event::from_selector(data),
        _ => return None,
    };
    (selector != Event::None).then_some(selector)
}

/// Whether the counter can count the event: the first ones count what they are named for.
fn counts(counter: usize, event: Event) -> bool {
    match counter {
        CYCLE => event == Event::Cycles,
        INSTRET => event == Event::Instructions,
        _ => true,
    }
}

fn configure(
    call: &mut Call<'_>,
    base: u64,
    mask: u64,
    flags: CounterCfgFlags,
    index: u64,
    data: u64,
) -> Reply {
    let wanted = counters_that_exist(base, mask)?;
    let event = event(index, data).ok_or(Error::NotSupported)?;
    let control = (call.sbi.harts.get(call.hart.id)).ok_or(Error::Failed)?;
    let in_use = control.counters();
    let chosen = if flags.contains(CounterCfgFlags::SKIP_MATCH) {
        // The caller knows which counter it wants.
        let first = wanted.trailing_zeros() as usize;
        (first < COUNTERS && counts(first, event)).then_some(first)
    } else {
        let free = wanted & !in_use;
        (0..COUNTERS).find(|c| free >> c & 1 != 0 && counts(*c, event))
    };
    let chosen = chosen.ok_or(Error::NotSupported)?;
    control.set_counters(in_use | 1 << chosen);
    let (file, totals) = (&mut call.hart.csrs.counters, &call.hart.counts);
    let bit = 1 << chosen;
    let running = flags.contains(CounterCfgFlags::AUTO_START);
    let inhibited = file.inhibited();
    file.set_inhibited(
        if running {
            inhibited & !bit
        } else {
            inhibited | bit
        },
        totals,
    );
    if chosen > INSTRET {
        file.set_event(chosen, event as u64, totals);
    }
    if flags.contains(CounterCfgFlags::CLEAR_VALUE) {
        file.write(chosen, 0, totals);
    }
    Ok(Answer::Value(chosen as u64))
}

/// As [`counters`], but Linux offers all numbers below the count, the one of `time` included.
fn counters_that_exist(base: u64, mask: u64) -> Result<u32, Error<u64>> {
    let time = u32::try_from(base)
        .ok()
        .and_then(|shift| (1_u64 << TIME).checked_shr(shift))
        .unwrap_or(0);
    counters(base, mask & !time)
}

fn start(call: &mut Call<'_>, base: u64, mask: u64, flags: CounterStartFlags, value: u64) -> Reply {
    let wanted = counters_in_use(call, base, mask)?;
    if flags.contains(CounterStartFlags::INIT_SNAPSHOT) {
        return Err(Error::NoShmem);
    }
    let (file, totals) = (&mut call.hart.csrs.counters, &call.hart.counts);
    let stopped = file.inhibited() & u64::from(wanted);
    if stopped == 0 {
        return Err(Error::AlreadyStarted);
    }
    file.set_inhibited(file.inhibited() & !stopped, totals);
    if flags.contains(CounterStartFlags::INIT_VALUE) {
        for index in (0..COUNTERS).filter(|c| stopped >> c & 1 != 0) {
            file.write(index, value, totals);
        }
    }
    DONE
}

fn stop(call: &mut Call<'_>, base: u64, mask: u64, flags: CounterStopFlags) -> Reply {
    let wanted = counters_in_use(call, base, mask)?;
    if flags.contains(CounterStopFlags::TAKE_SNAPSHOT) {
        return Err(Error::NoShmem);
    }
    let (file, totals) = (&mut call.hart.csrs.counters, &call.hart.counts);
    let running = !file.inhibited() & u64::from(wanted);
    file.set_inhibited(file.inhibited() | running, totals);
    if flags.contains(CounterStopFlags::RESET) {
        for index in (INSTRET + 1..COUNTERS).filter(|c| wanted >> c & 1 != 0) {
            file.set_event(index, Event::None as u64, totals);
        }
        if let Some(control) = call.sbi.harts.get(call.hart.id) {
            control.set_counters(control.counters() & !wanted);
        }
    }
    if running == 0 {
        return Err(Error::AlreadyStopped);
    }
    DONE
}

/// The counters named, which must all have been configured.
fn counters_in_use(call: &Call<'_>, base: u64, mask: u64) -> Result<u32, Error<u64>> {
    let wanted = counters(base, mask)?;
    let control = call.sbi.harts.get(call.hart.id).ok_or(Error::Failed)?;
    if wanted & !control.counters() != 0 {
        return Err(Error::InvalidParam);
    }
    Ok(wanted)
}
