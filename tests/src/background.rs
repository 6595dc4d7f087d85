//! The runtime on which servers of the harness live: its threads outlast the single test, whose own runtime ends with it.

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("harness")
        .enable_all()
        .build()
        .unwrap()
});

/// Runs `work` on that runtime and waits for it; what it spawns stays there.
pub async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    RUNTIME.spawn(work).await.expect("the work does not panic")
}

/// Starts `work` there and does not wait: for tidying up behind a value that is dropped.
pub fn start(work: impl Future<Output = ()> + Send + 'static) {
    drop(RUNTIME.spawn(work));
}
