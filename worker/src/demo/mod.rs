//! The demo.
/// Its options.
#[derive(Debug, clap::Args)]
pub struct Options {}
/// Runs it.
pub async fn run(_: Options) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("soon")
}
pub mod replica {
    //! One replica.
    /// Its options.
    #[derive(Debug, clap::Args)]
    pub struct Options {}
    /// Runs it.
    pub async fn run(_: Options) -> anyhow::Result<()> {
        anyhow::bail!("soon")
    }
}
