//! Sealing and opening, without a store.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use vestibule::{
    Keys,
    pkce::PkceState,
    seal::{Binding, Seal},
};

use crate::{
    Scale,
    contestants::{encoded, record_of},
    rounds::median,
    table::Table,
};

const LIFE: Duration = Duration::from_secs(600);
const BINDING: Binding<'_> = Binding { purpose: "bench", prefix: "vst", name: &[7; 16] };
const BODY: usize = 400;

pub fn seal_and_open(table: &mut Table, scale: Scale) {
    let seal = Seal::new(Keys::random().ring);
    let record = record_of(BODY);
    let opaque = Opaque { body: Bytes(vec![7; BODY - 10]) };
    assert_eq!(encoded(&opaque), BODY);

    let short = seal.seal_short(BINDING, LIFE, &opaque).unwrap();
    let short_record = seal.seal_short(BINDING, LIFE, &record).unwrap();
    let long = seal_long(&seal, &opaque);
    let long_record = seal_long(&seal, &record);
    let figures = nanos(
        scale,
        &mut [
            &mut || drop(black_box(seal.seal_short(BINDING, LIFE, &opaque).unwrap())),
            &mut || drop(black_box(open_short::<Opaque>(&seal, &short))),
            &mut || drop(black_box(seal.seal_short(BINDING, LIFE, &record).unwrap())),
            &mut || drop(black_box(open_short::<PkceState>(&seal, &short_record))),
            &mut || drop(black_box(seal_long(&seal, &opaque))),
            &mut || drop(black_box(open_long::<Opaque>(&seal, &long))),
            &mut || drop(black_box(seal_long(&seal, &record))),
            &mut || drop(black_box(open_long::<PkceState>(&seal, &long_record))),
        ],
    );
    for (what, figures) in [
        "short-lived (ring), 400 bytes as they are",
        "short-lived (ring), a record of 400 bytes encoded",
        "long-lived (data key), 400 bytes as they are",
        "long-lived (data key), a record of 400 bytes encoded",
    ]
    .into_iter()
    .zip(figures.chunks(2))
    {
        table.tell(
            ["seal", what, ""],
            &format!("seal {:.0} ns, open {:.0} ns", figures[0], figures[1]),
        );
    }
}

/// The median over rounds in which all take turns.
fn nanos(scale: Scale, contestants: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut all = vec![Vec::new(); contestants.len()];
    let calls = scale.count(4_000);
    for round in 0..=15 {
        for (contestant, figures) in contestants.iter_mut().zip(&mut all) {
            let started = Instant::now();
            for _ in 0..calls {
                contestant();
            }
            if round > 0 {
                figures.push(started.elapsed().as_secs_f64() * 1e9 / calls as f64);
            }
        }
    }
    all.into_iter().map(|figures| median(figures).unwrap()).collect()
}

fn open_short<T: serde::de::DeserializeOwned>(seal: &Seal, sealed: &[u8]) -> T {
    seal.open_short(BINDING, sealed).unwrap()
}

fn seal_long<T: Serialize + Sync>(seal: &Seal, value: &T) -> Vec<u8> {
    seal.seal_long(BINDING, value).now_or_never().expect("the ring does not wait").unwrap()
}

fn open_long<T: serde::de::DeserializeOwned>(seal: &Seal, sealed: &[u8]) -> T {
    seal.open_long(BINDING, sealed).now_or_never().expect("the ring does not wait").unwrap()
}

/// Encoding this is copying it.
#[derive(Serialize, Deserialize)]
struct Opaque {
    body: Bytes,
}

struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Reader)
    }
}
