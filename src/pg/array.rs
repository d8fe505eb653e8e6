//! Arrays as statement arguments.

use pgrx::pg_sys;

use super::spi::Arg;

/// An SQL array of the given element type.
pub fn array(element: pg_sys::BuiltinOid, items: impl IntoIterator<Item = Arg>) -> Arg {
    let (mut datums, mut nulls): (Vec<pg_sys::Datum>, Vec<bool>) =
        items.into_iter().map(|a| (a.datum, a.null)).unzip();
    // SAFETY: the element's length, passing and alignment come from the catalog; both vectors have `n` items.
    unsafe {
        let oid = pg_sys::Oid::from(element);
        if datums.is_empty() {
            return Arg::datum(Some(pg_sys::Datum::from(pg_sys::construct_empty_array(
                oid,
            ))));
        }
        let (mut length, mut by_value, mut align) = (0i16, false, 0 as std::ffi::c_char);
        pg_sys::get_typlenbyvalalign(oid, &mut length, &mut by_value, &mut align);
        let mut dims = [datums.len() as i32];
        let mut lower = [1i32];
        let array = pg_sys::construct_md_array(
            datums.as_mut_ptr(),
            nulls.as_mut_ptr(),
            1,
            dims.as_mut_ptr(),
            lower.as_mut_ptr(),
            oid,
            i32::from(length),
            by_value,
            align,
        );
        Arg::datum(Some(pg_sys::Datum::from(array)))
    }
}

/// An SQL array of uuids.
pub fn uuids(items: impl IntoIterator<Item = uuid::Uuid>) -> Arg {
    array(
        pg_sys::BuiltinOid::UUIDOID,
        items.into_iter().map(Arg::from),
    )
}

/// An SQL array of texts.
pub fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> Arg {
    array(
        pg_sys::BuiltinOid::TEXTOID,
        items.into_iter().map(Arg::from),
    )
}

/// An SQL array of ints.
pub fn ints(items: impl IntoIterator<Item = i32>) -> Arg {
    array(
        pg_sys::BuiltinOid::INT4OID,
        items.into_iter().map(Arg::from),
    )
}

/// The array type of an element type.
pub fn type_of(element: pg_sys::BuiltinOid) -> pg_sys::Oid {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::get_array_type(element.into()) }
}
