//! Procedures that end their transaction and wait holding nothing (G12).

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::{AnyElement, FromDatum};

use super::path;
use super::spi::Db;

/// A procedure called outside a transaction block.
pub struct Procedure {
    fcinfo: pg_sys::FunctionCallInfo,
    owner: pg_sys::Oid,
    context: pg_sys::MemoryContext,
}

impl Procedure {
    /// Ends the caller's transaction. Inside a transaction block or a function this raises `2D000`.
    pub fn begin(fcinfo: pg_sys::FunctionCallInfo) -> Procedure {
        // SAFETY: the server passes a CallContext to every procedure; the owner is read from the catalog cache
        // while the caller's transaction still runs.
        unsafe {
            let call = (*fcinfo).context.cast::<pg_sys::CallContext>();
            if call.is_null() || (*call).type_ != pg_sys::NodeTag::T_CallContext || (*call).atomic {
                pgrx::ereport!(
                    pgrx::PgLogLevel::ERROR,
                    pgrx::PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_TERMINATION,
                    "a wait procedure ends its transaction and cannot run inside a transaction block or a function",
                    "Call it on a connection in autocommit mode."
                );
            }
            let owner = owner_of((*(*fcinfo).flinfo).fn_oid);
            let context = pg_sys::CurrentMemoryContext;
            pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32);
            pg_sys::SPI_commit();
            Procedure {
                fcinfo,
                owner,
                context,
            }
        }
    }

    /// Looks at the tables in a short transaction, with the owner's rights and under the pinned path.
    pub fn look<T>(&self, work: impl FnOnce(&Db) -> T) -> T {
        // SAFETY: rights and path are restored before the transaction ends; an error aborts the transaction, and
        // the server restores both with it.
        unsafe {
            let (mut user, mut security) = (pg_sys::InvalidOid, 0);
            pg_sys::GetUserIdAndSecContext(&mut user, &mut security);
            pg_sys::SetUserIdAndSecContext(
                self.owner,
                security | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32,
            );
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let value = path::pinned(|| work(&Db::connected()));
            pg_sys::PopActiveSnapshot();
            pg_sys::SetUserIdAndSecContext(user, security);
            pg_sys::SPI_commit();
            value
        }
    }

    /// Leaves without a value.
    pub fn end(self) {
        // SAFETY: connected in `begin`.
        unsafe { pg_sys::SPI_finish() };
    }

    /// Leaves with the value of the one INOUT argument.
    pub fn finish(self, name: &CStr, value: &'static str) -> AnyElement {
        // SAFETY: CALL expects a row of the INOUT arguments, allocated where the call was made.
        unsafe {
            pg_sys::SPI_finish();
            pg_sys::MemoryContextSwitchTo(self.context);
            let descriptor = pg_sys::CreateTemplateTupleDesc(1);
            pg_sys::TupleDescInitEntry(descriptor, 1, name.as_ptr(), pg_sys::TEXTOID, -1, 0);
            let descriptor = pg_sys::BlessTupleDesc(descriptor);
            let mut datums = [pgrx::IntoDatum::into_datum(value).unwrap_or(pg_sys::Datum::null())];
            let mut nulls = [false];
            let tuple =
                pg_sys::heap_form_tuple(descriptor, datums.as_mut_ptr(), nulls.as_mut_ptr());
            let row = pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data);
            (*self.fcinfo).isnull = false;
            match AnyElement::from_polymorphic_datum(row, false, pg_sys::RECORDOID) {
                Some(row) => row,
                None => pgrx::error!("a procedure's result is missing"),
            }
        }
    }
}

/// Owner of a function.
unsafe fn owner_of(function: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the function is being called, so its catalog row exists.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::PROCOID as i32,
            pg_sys::Datum::from(function),
        );
        if tuple.is_null() {
            pgrx::error!("the called procedure has vanished");
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()).proowner;
        pg_sys::ReleaseSysCache(tuple);
        owner
    }
}
