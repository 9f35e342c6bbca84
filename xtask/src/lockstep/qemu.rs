//! The QEMU side of lockstep: a machine of the `virt` kind, held by its gdb stub.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ringer_hart::extensions::EXTENSIONS;
use ringer_machine::memory_map::RAM_BASE;
use tempfile::TempDir;

use super::rsp::Rsp;
use super::state::{COMPARED, Snapshot};

/// The program.
pub const QEMU: &str = "qemu-system-riscv64";

/// Numbers of registers in QEMU's stub: after 33 general ones.
const PC: u32 = 32;
const FLOAT: u32 = 33;
const PRIVILEGE: u32 = 65;
const CSR: u32 = 66;

/// A QEMU that is stopped unless it is told to run.
pub struct Qemu {
    child: Child,
    stub: Rsp,
    memory: File,
    /// Holds the socket and the RAM.
    _place: TempDir,
}

/// The `-cpu` that implements what Ringer's harts do, and nothing else.
pub fn cpu() -> String {
    let mut cpu = String::from(
        "rv64,b=true,pmu-mask=0xfffffff8,h=false,v=false,debug=false,sv57=true,mvendorid=0,marchid=0,mimpid=0,svade=false",
    );
    for extension in EXTENSIONS.iter().filter(|e| e.len() > 1) {
        cpu.push_str(&format!(",{extension}=true"));
    }
    cpu
}

/// What QEMU calls itself; `None` if it is not there.
pub fn version() -> Option<String> {
    let output = Command::new(QEMU).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}

impl Qemu {
    /// Starts QEMU with `ram` bytes of RAM. It is stopped before its first instruction.
    pub fn start(ram: u64) -> Result<Self> {
        let place = tempfile::Builder::new()
            .prefix("ringer-lockstep")
            .tempdir_in(if cfg!(target_os = "linux") {
                "/dev/shm"
            } else {
                "/tmp"
            })?;
        let socket = place.path().join("gdb");
        let ram_file = place.path().join("ram");
        let mut child = Command::new(QEMU)
            .args(["-M", "virt,memory-backend=ram", "-cpu", &cpu()])
            .args(["-m", &format!("{ram}B"), "-bios", "none", "-S"])
            .args(["-display", "none", "-serial", "none", "-monitor", "none"])
            .args(["-accel", "tcg,thread=single"])
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=ram,size={ram}B,share=on,mem-path={}",
                ram_file.display()
            ))
            .arg("-chardev")
            .arg(format!(
                "socket,id=gdb,server=on,wait=off,path={}",
                socket.display()
            ))
            .args(["-gdb", "chardev:gdb"])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| {
                format!("cannot start {QEMU}: install Debian's qemu-system-riscv (10 or later)")
            })?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut stub = loop {
            if let Ok(stub) = Rsp::connect(&socket) {
                break stub;
            }
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{QEMU} ended at once ({status}); it may be too old for {}",
                    cpu()
                );
            }
            if Instant::now() > deadline {
                child.kill()?;
                bail!("{QEMU} does not open its gdb stub");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        // QEMU answers once its machine is built, and the RAM is there.
        stub.request("?")?;
        let memory = File::options().read(true).write(true).open(&ram_file)?;
        let mut qemu = Self {
            child,
            stub,
            memory,
            _place: place,
        };
        // Timers stand still while stepping; interrupts that software raises are taken.
        qemu.stub.command("Qqemu.sstep=0x5")?;
        Ok(qemu)
    }

    /// Back to reset, to go on at `entry`; RAM stays.
    pub fn reset(&mut self, entry: u64) -> Result<()> {
        // The reset happens in QEMU's main loop, some time after the command; it is seen by the
        // program counter.
        self.stub.set_register(PC, 0)?;
        self.stub.monitor("system_reset")?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.stub.general()?[32] == 0 {
            ensure!(Instant::now() < deadline, "QEMU does not reset");
        }
        self.stub.set_register(PC, entry)
    }

    /// Writes RAM that will be executed, so that QEMU forgets what it has translated.
    pub fn write_code(&mut self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.stub.write(addr, bytes)
    }

    /// Writes RAM that is not executed.
    pub fn write(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.memory.write_all_at(bytes, addr - RAM_BASE.0)?)
    }

    /// Reads RAM.
    pub fn read(&self, addr: u64, into: &mut [u8]) -> Result<()> {
        Ok(self.memory.read_exact_at(into, addr - RAM_BASE.0)?)
    }

    /// Executes one instruction.
    pub fn step(&mut self) -> Result<()> {
        self.stub.request("s").map(drop)
    }

    /// Runs up to the instruction at `addr`. `false` if that is not reached in time.
    pub fn run_to(&mut self, addr: u64) -> Result<bool> {
        self.stub.command(&format!("Z0,{addr:x},4"))?;
        let stopped = self.stub.request("c").is_ok();
        if !stopped {
            self.stub.interrupt()?;
        }
        self.stub.command(&format!("z0,{addr:x},4"))?;
        Ok(stopped)
    }

    /// The program counter and the general registers, which are quick to get.
    pub fn general(&mut self) -> Result<(u64, [u64; 32])> {
        let all = self.stub.general()?;
        let mut x = [0; 32];
        x.copy_from_slice(&all[..32]);
        Ok((all[32], x))
    }

    /// The registers now.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let (pc, x) = self.general()?;
        let mut numbers: Vec<u32> = (FLOAT..FLOAT + 32).collect();
        numbers.push(PRIVILEGE);
        numbers.extend(COMPARED.iter().map(|rule| CSR + u32::from(rule.csr)));
        let values = self.stub.registers(&numbers)?;
        let values: Vec<u64> = values.into_iter().map(Option::unwrap_or_default).collect();
        let mut f = [0; 32];
        f.copy_from_slice(&values[..32]);
        Ok(Snapshot {
            pc,
            privilege: values[32],
            x,
            f,
            csrs: values[33..].to_vec(),
        })
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
