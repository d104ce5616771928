//! The stubs of the Turnout model-serving gateway, for tonic. Each package of the contract is a module:
//! `turnout.serving.v1` is [`serving::v1`].

/// The version of this crate and of the contract that it speaks.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

macro_rules! packages {
    ($($name:ident)*) => {$(
        #[allow(clippy::all, clippy::pedantic, rustdoc::all)]
        pub mod $name {
            pub mod v1 {
                include!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/gen/turnout/", stringify!($name), "/v1/turnout.", stringify!($name), ".v1.rs"
                ));
            }
        }
    )*};
}

packages!(admin events experiments features outcomes refusal registry serving tensor trainer);
