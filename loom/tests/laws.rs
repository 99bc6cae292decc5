//! Each law as a test of its own.

/// Laws of one module, by their names.
macro_rules! laws {
    ($($module:ident: $($law:ident),+;)+) => {
        $(mod $module {
            $(#[test]
            fn $law() {
                lagwise_loom::$module::$law();
            })+
        })+
    };
}

laws! {
    published:
        who_is_woken_finds_what_goes_with_the_version,
        no_publication_is_slept_through,
        no_end_is_slept_through,
        all_who_wait_are_woken,
        a_watcher_sees_what_is_published_between_two_waits,
        nobody_goes_back_to_an_older_snapshot;
    counts:
        every_lease_that_is_counted_returns,
        no_peak_is_lost_to_another_measurement,
        as_many_wait_as_may_and_all_places_return;
    kept:
        no_connection_is_lost_or_handed_to_two,
        nothing_is_kept_from_one_who_waits,
        nothing_that_was_taken_before_is_kept_from_one_who_waits,
        nothing_stays_behind_in_a_closed_one;
    sessions:
        no_end_of_a_write_is_slept_through,
        no_end_of_a_read_is_slept_through,
        being_bound_to_the_primary_is_not_slept_through;
    texts:
        no_verdict_outlives_its_catalog,
        no_refusal_is_slept_through;
    verdicts:
        one_thread_is_told_that_a_text_is_new,
        one_thread_is_told_also_where_another_retreats,
        nobody_gets_the_verdict_on_another_text,
        the_last_verdict_on_a_text_stays;
}
