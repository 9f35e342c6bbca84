//! Processes: their table, the scheduler, sleeping and waking, fork, exec, exit, wait, kill.

use crate::lock::Lock;
use crate::paging::{R, TRAMPOLINE, TRAP_FRAME, Table, U, W, X};
use crate::{PAGE, command_line, cpu, pages, paging, trap, user};
use core::cell::UnsafeCell;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The most processes.
pub const MOST: usize = 64;
/// The status of a process that ended for a trap, less its cause.
pub const KILLED_BY_TRAP: i32 = -100;
const KERNEL_STACK: usize = 3 * PAGE;
const USER_STACK: usize = PAGE;

/// What a process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The slot is free.
    Unused,
    /// Being made.
    Used,
    /// Waiting for a channel.
    Sleeping,
    /// Ready to run.
    Runnable,
    /// On a hart.
    Running,
    /// Ended; its parent has not yet asked.
    Zombie,
}

/// What `switch_context` saves.
#[repr(C)]
pub struct Context {
    ra: usize,
    sp: usize,
    s: [usize; 12],
}

impl Context {
    /// Nothing saved yet.
    pub const EMPTY: Context = Context {
        ra: 0,
        sp: 0,
        s: [0; 12],
    };
}

/// What the trampoline saves and needs; its layout is known to kernel.s.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TrapFrame {
    /// satp of the kernel.
    pub kernel_satp: usize,
    /// The top of the process's kernel stack.
    pub kernel_sp: usize,
    /// `trap::user_trap`.
    pub kernel_trap: usize,
    /// The user's pc.
    pub epc: usize,
    /// The hart, for tp.
    pub kernel_hart: usize,
    /// x1 to x31.
    x: [usize; 31],
}

impl TrapFrame {
    /// A register, by its number.
    pub fn register(&mut self, number: usize) -> &mut usize {
        &mut self.x[number - 1]
    }
}

/// sp's number.
pub const SP: usize = 2;
/// a0's number.
pub const A0: usize = 10;
/// a7's number.
pub const A7: usize = 17;

/// A process's own part.
pub struct Inner {
    /// What it does.
    pub state: State,
    channel: usize,
    /// Whether it shall end.
    pub killed: bool,
    status: i32,
    /// Its number.
    pub pid: usize,
    /// Under the wait lock.
    parent: Option<&'static Process>,
    /// The end of its memory.
    pub size: usize,
    /// Its page table.
    pub table: Table,
    /// Its trap frame.
    pub frame: *mut TrapFrame,
    context: Context,
}

/// A slot of the process table.
pub struct Process {
    /// Held while `state`, `channel`, `killed`, `status` or `pid` are used.
    pub lock: Lock,
    inner: UnsafeCell<Inner>,
}

// SAFETY: shared fields are used under the locks named above, the others by the process alone.
unsafe impl Sync for Process {}

static TABLE: [Process; MOST] = [const {
    Process {
        lock: Lock::new(),
        inner: UnsafeCell::new(Inner {
            state: State::Unused,
            channel: 0,
            killed: false,
            status: 0,
            pid: 0,
            parent: None,
            size: 0,
            table: Table(0),
            frame: core::ptr::null_mut(),
            context: Context::EMPTY,
        }),
    }
}; MOST];

static WAIT: Lock = Lock::new();
static NEXT_PID: AtomicUsize = AtomicUsize::new(1);

unsafe extern "C" {
    fn switch_context(old: *mut Context, new: *mut Context);
    static _user_start: u8;
    static _user_end: u8;
}

impl Process {
    /// The process's part; see [`Process::lock`] for who may use what.
    #[allow(clippy::mut_from_ref)]
    pub fn inner(&self) -> &mut Inner {
        // SAFETY: as for Sync above.
        unsafe { &mut *self.inner.get() }
    }

    /// Its trap frame; for the process itself.
    #[allow(clippy::mut_from_ref)]
    pub fn frame(&self) -> &mut TrapFrame {
        // SAFETY: the frame lives as long as the process, which alone uses it.
        unsafe { &mut *self.inner().frame }
    }

    fn kernel_stack(&self) -> usize {
        let index =
            (self as *const Process as usize - TABLE.as_ptr() as usize) / size_of::<Process>();
        TRAMPOLINE - index * (KERNEL_STACK + PAGE) - KERNEL_STACK
    }

    /// Where its kernel stack starts, downwards.
    pub fn kernel_stack_top(&self) -> usize {
        self.kernel_stack() + KERNEL_STACK
    }

    /// Whether it shall end.
    pub fn killed(&self) -> bool {
        self.lock.acquire();
        let killed = self.inner().killed;
        self.lock.release();
        killed
    }

    /// Frees the slot with what it holds. Under the lock.
    fn free(&self) {
        let inner = self.inner();
        if inner.table.0 != 0 {
            inner.table.free(inner.size);
        }
        if !inner.frame.is_null() {
            pages::free(inner.frame as usize);
        }
        inner.frame = core::ptr::null_mut();
        inner.table = Table(0);
        inner.size = 0;
        inner.killed = false;
        inner.state = State::Unused;
    }
}

/// The running process; called by code that runs for one.
pub fn current() -> &'static Process {
    cpu::process().expect("a process runs here")
}

/// Maps the kernel stacks, each above a page that is not mapped.
pub fn map_stacks(kernel: Table) {
    for process in &TABLE {
        for offset in (0..KERNEL_STACK).step_by(PAGE) {
            let page = pages::allocate().expect("memory for kernel stacks");
            assert!(
                kernel.map(process.kernel_stack() + offset, page, PAGE, R | W),
                "memory for kernel stacks"
            );
        }
    }
}

/// Checks what the assembly assumes.
pub fn start() {
    assert!(
        core::mem::offset_of!(TrapFrame, x) == 40 && size_of::<Context>() == 112,
        "layouts known to kernel.s"
    );
}

/// A new slot, its lock held.
fn allocate() -> Option<&'static Process> {
    for process in &TABLE {
        process.lock.acquire();
        if process.inner().state != State::Unused {
            process.lock.release();
            continue;
        }
        let inner = process.inner();
        inner.state = State::Used;
        inner.pid = NEXT_PID.fetch_add(1, Ordering::Relaxed);
        let made = pages::allocate().and_then(|frame| {
            inner.frame = frame as *mut TrapFrame;
            inner.table = user_table(frame)?;
            Some(())
        });
        if made.is_none() {
            process.free();
            process.lock.release();
            return None;
        }
        inner.context = Context {
            ra: first_run as *const () as usize,
            sp: process.kernel_stack_top(),
            s: [0; 12],
        };
        return Some(process);
    }
    None
}

/// A table with the trampoline and a trap frame.
fn user_table(frame: usize) -> Option<Table> {
    let table = Table::new()?;
    if table.map(TRAMPOLINE, paging::trampoline(), PAGE, R | X)
        && table.map(TRAP_FRAME, frame, PAGE, R | W)
    {
        return Some(table);
    }
    table.free(0);
    None
}

/// Fills a table with the user programs and a stack above a guard page; gives the end.
fn load_programs(table: Table) -> Option<usize> {
    let (start, end) = (addr_of!(_user_start) as usize, addr_of!(_user_end) as usize);
    let code = end - start;
    let map = |address, flags| {
        let page = pages::allocate()?;
        if !table.map(address, page, PAGE, flags) {
            pages::free(page);
            return None;
        }
        Some(page)
    };
    for offset in (0..code).step_by(PAGE) {
        let page = map(offset, R | X | U)?;
        // SAFETY: from the kernel's image to a page of ours.
        unsafe {
            core::ptr::copy_nonoverlapping((start + offset) as *const u8, page as *mut u8, PAGE)
        };
    }
    for offset in (0..PAGE + USER_STACK).step_by(PAGE) {
        map(code + offset, R | W | U)?;
    }
    table.make_guard(code);
    Some(code + PAGE + USER_STACK)
}

/// The user address of a program in the kernel's image.
fn user_address(program: extern "C" fn(usize) -> !) -> usize {
    program as usize - addr_of!(_user_start) as usize
}

/// Makes the first process.
pub fn start_first() {
    let process = allocate().expect("the first process");
    let inner = process.inner();
    inner.size = load_programs(inner.table).expect("memory for the first process");
    let frame = process.frame();
    frame.epc = match command_line::getpid_calls() {
        Some(calls) => {
            *frame.register(A0) = calls;
            user_address(user::getpid_loop)
        }
        None => user_address(user::init),
    };
    *frame.register(SP) = inner.size;
    inner.state = State::Runnable;
    process.lock.release();
}

/// Replaces the process's memory by a fresh one, and starts at `entry` with an argument.
pub fn exec(entry: usize, argument: usize) -> isize {
    let process = current();
    let inner = process.inner();
    let Some(table) = user_table(inner.frame as usize) else {
        return -1;
    };
    let Some(size) = load_programs(table) else {
        // Some pages may be mapped: all that could be.
        table.free(
            addr_of!(_user_end) as usize - addr_of!(_user_start) as usize + PAGE + USER_STACK,
        );
        return -1;
    };
    inner.table.free(inner.size);
    inner.table = table;
    inner.size = size;
    process.frame().epc = entry;
    *process.frame().register(SP) = size;
    argument as isize
}

/// Makes a copy of the process; gives its pid, and zero in the copy.
pub fn fork() -> isize {
    let parent = current();
    let Some(child) = allocate() else {
        return -1;
    };
    let (from, to) = (parent.inner(), child.inner());
    if !from.table.copy(to.table, from.size) {
        to.size = from.size;
        child.free();
        child.lock.release();
        return -1;
    }
    to.size = from.size;
    *child.frame() = *parent.frame();
    *child.frame().register(A0) = 0;
    let pid = to.pid;
    child.lock.release();
    WAIT.acquire();
    to.parent = Some(parent);
    WAIT.release();
    child.lock.acquire();
    to.state = State::Runnable;
    child.lock.release();
    pid as isize
}

/// Grows or shrinks the process's memory; gives the old end.
pub fn grow(by: isize) -> isize {
    let inner = current().inner();
    let old = inner.size;
    let new = old.wrapping_add_signed(by);
    if by >= 0 {
        if new < old || new > TRAP_FRAME {
            return -1;
        }
        for address in (old.next_multiple_of(PAGE)..new).step_by(PAGE) {
            let mapped = pages::allocate().is_some_and(|page| {
                let mapped = inner.table.map(address, page, PAGE, R | W | U);
                if !mapped {
                    pages::free(page);
                }
                mapped
            });
            if !mapped {
                (old.next_multiple_of(PAGE)..address)
                    .step_by(PAGE)
                    .for_each(|a| inner.table.unmap(a, true));
                return -1;
            }
        }
    } else {
        if new > old {
            return -1;
        }
        (new.next_multiple_of(PAGE)..old)
            .step_by(PAGE)
            .for_each(|a| inner.table.unmap(a, true));
    }
    inner.size = new;
    old as isize
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    let process = current();
    assert!(process.inner().pid != 1, "the first process ended");
    WAIT.acquire();
    for child in &TABLE {
        if child
            .inner()
            .parent
            .is_some_and(|p| core::ptr::eq(p, process))
        {
            child.inner().parent = Some(&TABLE[0]);
            wake(&TABLE[0] as *const Process as usize);
        }
    }
    if let Some(parent) = process.inner().parent {
        wake(parent as *const Process as usize);
    }
    process.lock.acquire();
    process.inner().status = status;
    process.inner().state = State::Zombie;
    WAIT.release();
    switch_away();
    unreachable!("a zombie ran");
}

/// Waits for a child to end; gives its pid, and its status at `address`.
pub fn wait(address: usize) -> isize {
    let parent = current();
    WAIT.acquire();
    loop {
        let mut children = false;
        for child in &TABLE {
            if !child
                .inner()
                .parent
                .is_some_and(|p| core::ptr::eq(p, parent))
            {
                continue;
            }
            children = true;
            child.lock.acquire();
            if child.inner().state == State::Zombie {
                let (pid, status) = (child.inner().pid, child.inner().status);
                let copied = parent.inner().table.each_piece(address, 4, W, |at, _| {
                    // SAFETY: the parent's page; statuses are aligned.
                    unsafe { (at as *mut i32).write_volatile(status) };
                });
                child.inner().parent = None;
                child.free();
                child.lock.release();
                WAIT.release();
                return if copied { pid as isize } else { -1 };
            }
            child.lock.release();
        }
        if !children || parent.killed() {
            WAIT.release();
            return -1;
        }
        sleep(parent as *const Process as usize, &WAIT);
    }
}

/// Tells a process to end, and wakes it.
pub fn kill(pid: usize) -> isize {
    for process in &TABLE {
        process.lock.acquire();
        let inner = process.inner();
        if inner.state != State::Unused && inner.pid == pid {
            inner.killed = true;
            if inner.state == State::Sleeping {
                inner.state = State::Runnable;
            }
            process.lock.release();
            return 0;
        }
        process.lock.release();
    }
    -1
}

/// The scheduler of this hart: runs what is runnable, and sleeps when nothing is.
pub fn schedule() -> ! {
    cpu::interrupts_off();
    let cpu = cpu::this();
    cpu.process.set(None);
    loop {
        // What interrupts make runnable, and what they unlock, must get in.
        cpu::interrupts_on();
        let mut found = false;
        for process in &TABLE {
            process.lock.acquire();
            if process.inner().state == State::Runnable {
                process.inner().state = State::Running;
                cpu.process.set(Some(process));
                // The programs were written as data, on any hart.
                // SAFETY: a fence; then contexts that are valid and used under the process's lock.
                unsafe {
                    core::arch::asm!("fence.i");
                    switch_context(cpu.scheduler.get(), &raw mut process.inner().context);
                }
                cpu.process.set(None);
                found = true;
            }
            process.lock.release();
        }
        if !found {
            cpu::interrupts_on();
            // SAFETY: sleeps until an interrupt; the timer's at the latest.
            unsafe { core::arch::asm!("wfi") };
        }
    }
}

/// From a process to the scheduler; only the process's lock is held.
fn switch_away() {
    let process = current();
    let cpu = cpu::this();
    assert!(
        process.lock.held_here() && cpu.depth.get() == 1 && !cpu::interrupts_are_on(),
        "not ready to switch"
    );
    assert!(process.inner().state != State::Running, "still running");
    // This belongs to the thread, not to the hart.
    let were_on = cpu.were_on.get();
    // SAFETY: as in `schedule`.
    unsafe { switch_context(&raw mut process.inner().context, cpu.scheduler.get()) };
    cpu::this().were_on.set(were_on);
}

/// Lets others run.
pub fn give_way() {
    let process = current();
    process.lock.acquire();
    process.inner().state = State::Runnable;
    switch_away();
    process.lock.release();
}

/// Where a new process starts in the kernel: the scheduler holds its lock.
extern "C" fn first_run() -> ! {
    current().lock.release();
    trap::return_to_user()
}

/// Gives `lock` back and sleeps until `wake` of the same channel; then takes `lock` again.
pub fn sleep(channel: usize, lock: &Lock) {
    let process = current();
    process.lock.acquire();
    lock.release();
    process.inner().channel = channel;
    process.inner().state = State::Sleeping;
    switch_away();
    process.inner().channel = 0;
    process.lock.release();
    lock.acquire();
}

/// Makes those runnable that sleep on a channel.
pub fn wake(channel: usize) {
    let here = cpu::process();
    for process in &TABLE {
        if here.is_some_and(|p| core::ptr::eq(p, process)) {
            continue;
        }
        process.lock.acquire();
        if process.inner().state == State::Sleeping && process.inner().channel == channel {
            process.inner().state = State::Runnable;
        }
        process.lock.release();
    }
}
