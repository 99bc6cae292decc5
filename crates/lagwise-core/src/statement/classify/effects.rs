//! What every server has built in, and what of it is not for a server in recovery.
//!
//! A function's volatility does not tell: `txid_current` is declared stable and writes, `random` is
//! volatile and harmless. So every function that PostgreSQL 15 and 18 and their contrib extensions
//! call volatile was looked at by name, and those that are declared stable were searched for the
//! same. What does harm stands here, by the kind of harm. What does none stands in `functions.txt`:
//! all names of `pg_proc` without those here and without what SQL cannot call, and the names of the
//! types, which are called to cast. They were printed by
//!
//! ```sql
//! select proname from pg_proc
//! where prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
//!   and not ('internal'::regtype = any (proargtypes))
//! union
//! select typname from pg_type where typtype in ('b', 'r', 'm') and typname not like '\_%'
//! order by 1 collate "C"
//! ```
//!
//! after `create extension` of everything in `pg_available_extensions` but the untrusted languages.

use super::names::{Names, names};

/// What a built-in does that is not for any server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::statement) enum Effect {
    /// It writes, or a server in recovery refuses it.
    Writes,
    /// It takes a lock that a server in recovery refuses.
    Locks,
    /// It reads or changes what belongs to the connection.
    Session,
    /// It acts on one server, or tells about that one.
    ServerLocal,
    /// It runs what it is given as text or number: a query, a view, the check of a domain.
    RunsText,
}

/// Whether a function is there without an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::statement) enum Origin {
    Server,
    Extension,
}

struct Group {
    effect: Effect,
    origin: Origin,
    names: Names,
}

/// The functions that only read, by name.
const HARMLESS: Names = names!(include_str!("functions.txt"));

/// Whether a function of the server or its contrib extensions is known to only read.
pub(in crate::statement) fn is_harmless(function: &[u8]) -> bool {
    HARMLESS.contains(function)
}

/// What a function of the server or its contrib extensions does, if it does not only read.
pub(in crate::statement) fn of_function(name: &[u8]) -> Option<(Effect, Origin)> {
    let prefix = PREFIXES
        .iter()
        .find(|(prefix, ..)| name.starts_with(prefix));
    let prefix = prefix.map(|(_, effect, origin)| (*effect, *origin));
    let group = || FUNCTIONS.iter().find(|group| group.names.contains(name));
    prefix.or_else(|| group().map(|group| (group.effect, group.origin)))
}

/// What a function does that is called without parentheses, behind a dot: `('s'::regclass).nextval`.
pub(in crate::statement) fn of_attribute(name: &[u8]) -> Option<Effect> {
    // Most names behind a dot are columns, and one search tells.
    if !name.starts_with(b"pg_") && !ATTRIBUTES.contains(name) {
        return None;
    }
    of_function(name).map(|(effect, _)| effect)
}

/// What a relation of the server or its contrib extensions tells about, if not about the database.
pub(in crate::statement) fn of_relation(name: &[u8]) -> Option<Effect> {
    if !name.starts_with(b"pg_") {
        return None;
    }
    let counters = name.starts_with(b"pg_stat_") || name.starts_with(b"pg_statio_");
    let of = |names: Names, effect| names.contains(name).then_some(effect);
    of(SESSION_RELATIONS, Effect::Session)
        .or_else(|| (counters).then_some(Effect::ServerLocal))
        .or_else(|| of(SERVER_RELATIONS, Effect::ServerLocal))
}

/// The functions below that can be called with one argument, but for `pg_*`.
const ATTRIBUTES: Names = names!(
    "brin_summarize_new_values bt_index_parent_check crosstab crosstab2 crosstab3 crosstab4 \
     current_setting currval dblink dblink_cancel_query dblink_close dblink_connect \
     dblink_connect_u dblink_disconnect dblink_error_message dblink_exec dblink_get_notify \
     dblink_get_result dblink_is_busy fmgr_c_validator gin_clean_pending_list isn_weak lo_close \
     lo_creat lo_create lo_import lo_tell lo_tell64 lo_unlink nextval pgrowlocks \
     postgres_fdw_disconnect postgres_fdw_get_connections set_limit setseed ssl_client_dn_field \
     ssl_issuer_field ts_stat",
);

/// What belongs to the connection: its settings, cursors and prepared statements.
const SESSION_RELATIONS: Names = names!("pg_cursors pg_prepared_statements pg_settings");

/// What belongs to one server: its locks, files, memory and replication, and how far its sequences
/// are.
const SERVER_RELATIONS: Names = names!(
    "pg_aios pg_available_extension_versions pg_available_extensions pg_backend_memory_contexts \
     pg_buffercache pg_buffercache_numa pg_config pg_dsm_registry_allocations pg_file_settings \
     pg_hba_file_rules pg_ident_file_mappings pg_locks pg_prepared_xacts \
     pg_replication_origin_status pg_replication_slots pg_sequences pg_shmem_allocations \
     pg_shmem_allocations_numa",
);

/// Families of functions, as new versions keep adding to them.
const PREFIXES: [(&[u8], Effect, Origin); 3] = [
    // For pg_upgrade alone.
    (b"binary_upgrade_", Effect::Writes, Origin::Server),
    // The cumulative statistics of one server.
    (b"pg_stat_get_", Effect::ServerLocal, Origin::Server),
    (b"pg_buffercache", Effect::ServerLocal, Origin::Extension),
];

/// Functions by what they do.
const FUNCTIONS: [Group; 32] = [
    Group {
        // Sequences.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!("nextval setval"),
    },
    Group {
        // They assign a transaction id, though they are declared stable.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!("pg_current_xact_id txid_current"),
    },
    Group {
        // Large objects that are created, written or removed.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!(
            "lo_creat lo_create lo_from_bytea lo_import lo_put lo_truncate lo_truncate64 lo_unlink \
     lowrite",
        ),
    },
    Group {
        // Notifications and messages go into the write-ahead log or the queue.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!("pg_logical_emit_message pg_notify"),
    },
    Group {
        // Upkeep of indexes.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!(
            "brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list",
        ),
    },
    Group {
        // They change system catalogs or statistics.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!(
            "pg_clear_attribute_stats pg_clear_relation_stats pg_extension_config_dump \
     pg_import_system_collations pg_nextoid pg_restore_attribute_stats pg_restore_relation_stats \
     pg_stop_making_pinned_objects",
        ),
    },
    Group {
        // Replication origins are a catalog and a state of the session.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!(
            "pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop \
     pg_replication_origin_session_is_setup pg_replication_origin_session_progress \
     pg_replication_origin_session_reset pg_replication_origin_session_setup \
     pg_replication_origin_xact_reset pg_replication_origin_xact_setup",
        ),
    },
    Group {
        // They write to the write-ahead log, or are refused in recovery.
        effect: Effect::Writes,
        origin: Origin::Server,
        names: names!(
            "pg_backup_start pg_backup_stop pg_create_restore_point pg_log_standby_snapshot \
     pg_start_backup pg_stop_backup pg_switch_wal pg_walfile_name pg_walfile_name_offset",
        ),
    },
    Group {
        // Extensions that rewrite pages.
        effect: Effect::Writes,
        origin: Origin::Extension,
        names: names!("heap_force_freeze heap_force_kill pg_truncate_visibility_map"),
    },
    Group {
        // It takes a lock that a server in recovery refuses.
        effect: Effect::Locks,
        origin: Origin::Extension,
        names: names!("bt_index_parent_check"),
    },
    Group {
        // Settings belong to the connection, also when they are only read.
        effect: Effect::Session,
        origin: Origin::Server,
        names: names!(
            "current_setting pg_client_encoding pg_show_all_settings pg_stat_clear_snapshot set_config \
     setseed",
        ),
    },
    Group {
        // It loads a library into the connection's process, as `LOAD` does.
        effect: Effect::Session,
        origin: Origin::Server,
        names: names!("fmgr_c_validator"),
    },
    Group {
        // What the connection last got from a sequence.
        effect: Effect::Session,
        origin: Origin::Server,
        names: names!("currval lastval"),
    },
    Group {
        // Advisory locks are held by the connection, on one server.
        effect: Effect::Session,
        origin: Origin::Server,
        names: names!(
            "pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all \
     pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared \
     pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock \
     pg_try_advisory_xact_lock_shared",
        ),
    },
    Group {
        // They tell about the connection, its transaction or what it holds.
        effect: Effect::Session,
        origin: Origin::Server,
        names: names!(
            "inet_client_addr inet_client_port pg_backend_pid pg_current_xact_id_if_assigned pg_cursor \
     pg_export_snapshot pg_is_other_temp_schema pg_listening_channels pg_my_temp_schema \
     pg_prepared_statement txid_current_if_assigned",
        ),
    },
    Group {
        // Descriptors of open large objects.
        effect: Effect::Session,
        origin: Origin::Server,
        names: names!("lo_close lo_lseek lo_lseek64 lo_open lo_tell lo_tell64 loread"),
    },
    Group {
        // Extensions that keep something in the connection.
        effect: Effect::Session,
        origin: Origin::Extension,
        names: names!(
            "dblink_cancel_query dblink_close dblink_connect dblink_connect_u dblink_current_query \
     dblink_disconnect dblink_error_message dblink_fetch dblink_get_connections dblink_get_notify \
     dblink_get_result dblink_is_busy isn_weak postgres_fdw_disconnect \
     postgres_fdw_disconnect_all postgres_fdw_get_connections set_limit show_limit ssl_cipher \
     ssl_client_cert_present ssl_client_dn ssl_client_dn_field ssl_client_serial \
     ssl_extension_info ssl_is_used ssl_issuer_dn ssl_issuer_field ssl_version",
        ),
    },
    Group {
        // They act on one server or its processes.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!(
            "pg_cancel_backend pg_log_backend_memory_contexts pg_promote pg_reload_conf pg_rotate_logfile \
     pg_rotate_logfile_old pg_stat_force_next_flush pg_stat_reset pg_stat_reset_backend_stats \
     pg_stat_reset_replication_slot pg_stat_reset_shared pg_stat_reset_single_function_counters \
     pg_stat_reset_single_table_counters pg_stat_reset_slru pg_stat_reset_subscription_stats \
     pg_terminate_backend pg_wal_replay_pause pg_wal_replay_resume",
        ),
    },
    Group {
        // Replication slots belong to one server.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!(
            "pg_copy_logical_replication_slot pg_copy_physical_replication_slot \
     pg_create_logical_replication_slot pg_create_physical_replication_slot \
     pg_drop_replication_slot pg_get_replication_slots pg_logical_slot_get_binary_changes \
     pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes pg_logical_slot_peek_changes \
     pg_replication_slot_advance pg_sync_replication_slots",
        ),
    },
    Group {
        // Files of one server.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!(
            "lo_export pg_available_extension_versions pg_available_extensions pg_config \
     pg_current_logfile pg_extension_update_paths pg_hba_file_rules pg_ident_file_mappings \
     pg_ls_archive_statusdir pg_ls_dir pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir \
     pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir pg_read_binary_file \
     pg_read_file pg_read_file_old pg_show_all_file_settings pg_stat_file",
        ),
    },
    Group {
        // How far one server has come.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!(
            "pg_available_wal_summaries pg_control_checkpoint pg_control_init pg_control_recovery \
     pg_control_system pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn \
     pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_get_wal_summarizer_state \
     pg_is_in_recovery pg_is_wal_replay_paused pg_last_committed_xact pg_last_wal_receive_lsn \
     pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_replication_origin_progress \
     pg_show_replication_origin_status pg_wal_summary_contents",
        ),
    },
    Group {
        // A primary logs the values of a sequence in advance, so a server in recovery is ahead.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!("pg_get_sequence_data pg_sequence_last_value"),
    },
    Group {
        // What one server finds on its system.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!(
            "fips_mode pg_collation_actual_version pg_database_collation_actual_version \
     pg_jit_available pg_numa_available pg_tablespace_location",
        ),
    },
    Group {
        // The free space that one server knows of is not in the write-ahead log.
        effect: Effect::ServerLocal,
        origin: Origin::Extension,
        names: names!("pg_freespace"),
    },
    Group {
        // What goes on at one server.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!(
            "inet_server_addr inet_server_port pg_blocking_pids pg_conf_load_time pg_get_aios \
     pg_get_backend_memory_contexts pg_get_loaded_modules pg_get_shmem_allocations \
     pg_get_shmem_allocations_numa pg_isolation_test_session_is_blocked pg_lock_status \
     pg_notification_queue_usage pg_postmaster_start_time pg_prepared_xact \
     pg_safe_snapshot_blocking_pids",
        ),
    },
    Group {
        // The cumulative statistics of one server.
        effect: Effect::ServerLocal,
        origin: Origin::Server,
        names: names!("pg_stat_have_stats"),
    },
    Group {
        // Extensions that act on or tell about one server.
        effect: Effect::ServerLocal,
        origin: Origin::Extension,
        names: names!(
            "autoprewarm_dump_now autoprewarm_start_worker pg_file_length pg_file_read pg_file_rename \
     pg_file_sync pg_file_unlink pg_file_write pg_get_logical_snapshot_info \
     pg_get_logical_snapshot_meta pg_get_wal_block_info pg_get_wal_record_info \
     pg_get_wal_records_info pg_get_wal_records_info_till_end_of_wal pg_get_wal_stats \
     pg_get_wal_stats_till_end_of_wal pg_logdir_ls pg_old_snapshot_time_mapping pg_prewarm \
     pg_stat_statements pg_stat_statements_info pg_stat_statements_reset pgrowlocks",
        ),
    },
    Group {
        // They run a query given as text, or read whatever a name given as text stands for.
        effect: Effect::RunsText,
        origin: Origin::Server,
        names: names!(
            "cursor_to_xml cursor_to_xmlschema database_to_xml database_to_xml_and_xmlschema \
     database_to_xmlschema query_to_xml query_to_xml_and_xmlschema query_to_xmlschema \
     schema_to_xml schema_to_xml_and_xmlschema schema_to_xmlschema table_to_xml \
     table_to_xml_and_xmlschema table_to_xmlschema",
        ),
    },
    Group {
        // Text search over the rows of a query given as text.
        effect: Effect::RunsText,
        origin: Origin::Server,
        names: names!("ts_rewrite ts_stat"),
    },
    Group {
        // The input of a type given by its number, and with it the checks of a domain.
        effect: Effect::RunsText,
        origin: Origin::Server,
        names: names!("array_in domain_in multirange_in range_in record_in"),
    },
    Group {
        // They read a row of the table, or view, that a text names.
        effect: Effect::RunsText,
        origin: Origin::Extension,
        names: names!("dblink_build_sql_delete dblink_build_sql_insert dblink_build_sql_update"),
    },
    Group {
        // Extensions that run a query given as text.
        effect: Effect::RunsText,
        origin: Origin::Extension,
        names: names!(
            "connectby crosstab crosstab2 crosstab3 crosstab4 crosstabn dblink dblink_exec dblink_open \
     dblink_send_query xpath_table",
        ),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const VOLATILE: &str = include_str!("../../../tests/corpus/volatile_functions.txt");

    #[test]
    fn no_function_is_both_harmless_and_not() {
        for name in HARMLESS.iter() {
            assert_eq!(of_function(name.as_bytes()), None, "{name}");
        }
        let all = || FUNCTIONS.iter().flat_map(|group| group.names.iter());
        for name in all() {
            assert!(!is_harmless(name.as_bytes()), "{name}");
            assert_eq!(all().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn every_attribute_is_a_function() {
        for name in ATTRIBUTES.iter() {
            assert!(of_attribute(name.as_bytes()).is_some(), "{name}");
        }
        assert_eq!(of_attribute(b"pg_advisory_lock"), Some(Effect::Session));
        assert_eq!(of_attribute(b"pg_typeof"), None);
    }

    #[test]
    fn every_volatile_function_of_the_server_was_judged() {
        let (mut harmless, mut not) = (0, 0);
        for name in VOLATILE.split_ascii_whitespace() {
            match (is_harmless(name.as_bytes()), of_function(name.as_bytes())) {
                (true, None) => harmless += 1,
                (false, Some(_)) => not += 1,
                both => panic!("{name}: {both:?}"),
            }
        }
        assert!(harmless > 80 && not > 200, "{harmless} {not}");
    }

    #[test]
    fn lists_are_sorted() {
        let lists = FUNCTIONS.iter().map(|group| group.names);
        let others = [HARMLESS, ATTRIBUTES, SESSION_RELATIONS, SERVER_RELATIONS];
        for list in lists.chain(others) {
            assert!(list.iter().is_sorted());
            assert!(list.iter().all(|name| list.contains(name.as_bytes())));
        }
    }
}
