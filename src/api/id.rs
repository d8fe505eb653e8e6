//! Ids and partitions (§10.5.1).

use pgrx::datum::Uuid;
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::model::id;
use crate::ops::clock;
use crate::pg::srf::TableIterator;

use super::{required, uuid_in, uuid_out};

fn or_raise<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| error.raise())
}

/// Mints a time-ordered id that carries a partition.
#[pg_extern(volatile, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn ff_new_id(partition: default!(Option<i32>, "NULL")) -> Uuid {
    let partition = or_raise(
        partition
            .map(|p| u8::try_from(p).map_err(|_| Error::invalid_input("partition", "out_of_range")))
            .transpose(),
    );
    uuid_out(clock::mint(partition))
}

/// The partition an id carries, or hashes to.
#[pg_extern(immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn ff_partition_of(id: Option<Uuid>) -> i16 {
    let id = or_raise(required(id, "id"));
    i16::from(id::partition_of(uuid_in(id)))
}

/// Takes the interop text form of an execution id apart.
#[pg_extern(immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn ff_parse_execution_id(
    id: Option<String>,
) -> TableIterator<'static, (name!(execution_id, Uuid), name!(partition_key, i32))> {
    let (id, partition) = or_raise(required(id, "id").and_then(|text| id::parse(&text)));
    TableIterator::once((uuid_out(id), partition))
}
