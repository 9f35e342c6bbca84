//! The control socket: one thread that answers all peers and waits for none.

use std::io;
use std::os::unix::net::UnixListener as HostListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};

use super::patient::Patient;
use super::routes::{self, Routes};

/// The most peers at once; others wait.
const MOST_PEERS: usize = 64;
/// How long a peer may take to send the head of a request, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long answers may still be taken when the machine has ended.
const FAREWELL: Duration = Duration::from_millis(300);
/// The longest head of a request.
const LONGEST_HEAD: usize = 16 << 10;

/// The running server. Ends, with the last answers sent, when this goes.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Starts to answer.
    pub fn start(listener: HostListener, routes: Routes) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("control".to_string())
            .spawn(move || serve(&runtime, listener, routes, stopped))?;
        Ok(Self {
            thread: Some(thread),
            stop: Some(stop),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    runtime: &Runtime,
    listener: HostListener,
    routes: Routes,
    stopped: oneshot::Receiver<()>,
) {
    let room = Arc::new(Semaphore::new(MOST_PEERS));
    runtime.block_on(async {
        let Ok(listener) = UnixListener::from_std(listener) else {
            return;
        };
        tokio::select! {
            () = accept(&listener, &room, &routes) => {}
            _ = stopped => {}
        }
        // Nobody hears of new actions any more; the last answers are on their way.
        drop(routes);
        let all = async {
            let _ = room.acquire_many(MOST_PEERS as u32).await;
            routes::all_have_left().await;
        };
        let _ = tokio::time::timeout(FAREWELL, all).await;
    });
}

async fn accept(listener: &UnixListener, room: &Arc<Semaphore>, routes: &Routes) {
    loop {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) if is_of_this_user(&stream) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    converse(stream, routes).await;
                });
            }
            Ok(_) => {}
            // Out of file descriptors, most likely: later there may be some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The directory's mode keeps others out already; this holds if somebody opens it.
fn is_of_this_user(stream: &UnixStream) -> bool {
    let us = rustix::process::getuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == us)
}

async fn converse(stream: UnixStream, routes: Routes) {
    let service = TowerToHyperService::new(routes::router(routes));
    let stream = TokioIo::new(Patient::new(stream, PATIENCE));
    // Whatever goes wrong is the peer's own affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(stream, service)
        .with_upgrades()
        .await;
}
