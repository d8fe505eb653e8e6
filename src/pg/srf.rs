//! Functions that return rows: all rows at once into a tuplestore.
//!
//! The server would otherwise call the function once more for every row and once for the end, and each of those
//! calls switches rights and search path again. It stands in for pgrx's iterator of the same name, by which
//! `pg_extern` recognises a function that returns a table.

use std::marker::PhantomData;

use pgrx::callconv::RetAbi;
use pgrx::htup::IntoHeapTuple;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

/// The rows of a function.
pub struct TableIterator<'a, Row>(Vec<Row>, PhantomData<&'a ()>);

impl<Row> TableIterator<'_, Row> {
    /// These rows, in order.
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        Self(rows.into_iter().collect(), PhantomData)
    }

    /// One row.
    pub fn once(row: Row) -> Self {
        Self(vec![row], PhantomData)
    }
}

// SAFETY: SQL sees exactly what pgrx's own iterator declares.
unsafe impl<'a, Row> SqlTranslatable for TableIterator<'a, Row>
where
    pgrx::iter::TableIterator<'a, Row>: SqlTranslatable,
{
    const TYPE_IDENT: &'static str =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::TYPE_IDENT;
    const TYPE_ORIGIN: TypeOrigin =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::TYPE_ORIGIN;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::ARGUMENT_SQL;
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::RETURN_SQL;
}

// SAFETY: follows the server's protocol for materialised sets: store and descriptor live in the query's memory, and
// the caller is told so in its ReturnSetInfo.
unsafe impl<Row: IntoHeapTuple> RetAbi for TableIterator<'_, Row> {
    type Item = Row;
    type Ret = Vec<Row>;

    fn to_ret(self) -> Self::Ret {
        self.0
    }

    unsafe fn box_ret_in_fcinfo(
        fcinfo: pg_sys::FunctionCallInfo,
        rows: Self::Ret,
    ) -> pg_sys::Datum {
        // SAFETY: the executor passes a ReturnSetInfo to every function declared to return a set.
        unsafe {
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let materialize = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            if info.is_null() || (*info).allowedModes as u32 & materialize == 0 {
                pgrx::error!("a function that returns rows was called where none are expected");
            }
            let caller = pg_sys::MemoryContextSwitchTo((*(*info).econtext).ecxt_per_query_memory);
            let descriptor = pg_sys::CreateTupleDescCopy((*info).expectedDesc);
            let random = (*info).allowedModes as u32
                & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random
                != 0;
            let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
            pg_sys::MemoryContextSwitchTo(caller);
            for row in rows {
                pg_sys::tuplestore_puttuple(store, row.into_heap_tuple(descriptor));
            }
            (*info).returnMode = materialize;
            (*info).setResult = store;
            (*info).setDesc = descriptor;
            (*fcinfo).isnull = true;
            pg_sys::Datum::null()
        }
    }

    unsafe fn move_into_fcinfo_fcx(self, _fcinfo: pg_sys::FunctionCallInfo) {}

    unsafe fn fill_fcinfo_fcx(&self, _fcinfo: pg_sys::FunctionCallInfo) {}
}
