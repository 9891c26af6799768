//! Tables as diesel sees them, written from the migrations: see tests/it/schema.rs.
//!
//! Generated columns (`search`, `sort_name`) are left out: PostgreSQL writes them, and nothing reads them by itself.
//! So are the log of changes and the cache's epoch, whose types diesel lacks, and the statistics with the facts of leads, whose statements are fixed. Of a view PostgreSQL does not know which columns are never null.

diesel::table! {
    agent_metrics (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        window_days -> Integer,
        ends_on -> Date,
        time_zone -> Text,
        figures -> Jsonb,
        computed_at -> Timestamptz,
    }
}

diesel::table! {
    ai_runs (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        run_id -> Text,
        kind -> Text,
        model -> Text,
        outcome -> Text,
        input_tokens -> Integer,
        cached_tokens -> Integer,
        output_tokens -> Integer,
        cost -> Numeric,
        latency_ms -> Nullable<Integer>,
        ended_at -> Timestamptz,
    }
}

diesel::table! {
    api_keys (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        name -> Text,
        role -> Text,
        prefix -> Text,
        hash -> Binary,
        last_used_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        previous_hash -> Nullable<Binary>,
        previous_until -> Nullable<Timestamptz>,
        permissions -> Nullable<Array<Text>>,
    }
}

diesel::table! {
    attachment_parts (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        attachment_id -> Uuid,
        number -> Integer,
        data -> Binary,
        pending_since -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    attachments (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        file_name -> Nullable<Text>,
        mime_type -> Text,
        bytes -> BigInt,
        sha256 -> Text,
        uploaded_by -> Nullable<Uuid>,
        expires_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    audit_entries (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        created_at -> Nullable<Timestamptz>,
        resource -> Nullable<Text>,
        row_id -> Nullable<Uuid>,
        action -> Nullable<Text>,
        actor_kind -> Nullable<Text>,
        actor_id -> Nullable<Uuid>,
        request_id -> Nullable<Text>,
        changes -> Nullable<Jsonb>,
    }
}

diesel::table! {
    audit_log (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        resource -> Text,
        row_id -> Uuid,
        action -> Text,
        actor_kind -> Text,
        actor_id -> Nullable<Uuid>,
        request_id -> Nullable<Text>,
        changes -> Jsonb,
    }
}

diesel::table! {
    booking_day_checks (release) {
        release -> Text,
        checked_at -> Timestamptz,
    }
}

diesel::table! {
    bookings (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        code -> Text,
        service_id -> Nullable<Uuid>,
        staff_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        lead_id -> Nullable<Uuid>,
        customer_name -> Text,
        customer_phone -> Nullable<Text>,
        customer_email -> Nullable<Text>,
        starts_at -> Timestamptz,
        ends_at -> Timestamptz,
        time_zone -> Text,
        day -> Date,
        status -> Text,
        price_minor -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        notes -> Nullable<Text>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        reminded_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
    }
}

diesel::table! {
    business_users (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        email -> Nullable<Text>,
        name -> Nullable<Text>,
        role -> Nullable<Text>,
        membership_id -> Nullable<Uuid>,
        version -> Nullable<BigInt>,
        created_at -> Nullable<Timestamptz>,
        updated_at -> Nullable<Timestamptz>,
        search -> Nullable<Text>,
    }
}

diesel::table! {
    businesses (id) {
        id -> Uuid,
        name -> Text,
        slug -> Text,
        time_zone -> Text,
        currency -> Text,
        country -> Text,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        agent_visibility -> Text,
        erasure -> Text,
        opening_hours -> Nullable<Text>,
    }
}

diesel::table! {
    cache_warmup_queries (business_id, role, resource, typed) {
        business_id -> Uuid,
        role -> Text,
        resource -> Text,
        typed -> Text,
    }
}

diesel::table! {
    campaigns (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        name -> Text,
        channel -> Text,
        status -> Text,
        starts_on -> Nullable<Date>,
        ends_on -> Nullable<Date>,
        budget_minor -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
    }
}

diesel::table! {
    canned_responses (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        shortcut -> Text,
        body -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    channel_secrets (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        channel_id -> Uuid,
        kind -> Text,
        file_name -> Nullable<Text>,
        sealed -> Nullable<Binary>,
        digest -> Nullable<Binary>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    channels (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        name -> Text,
        phone_number_id -> Nullable<Text>,
        account_id -> Nullable<Text>,
        portfolio_id -> Nullable<Text>,
        display_number -> Nullable<Text>,
        state -> Text,
        state_reason -> Nullable<Text>,
        quality -> Text,
        messages_per_second -> Integer,
        creates_leads -> Bool,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        default_handler -> Text,
        sends_read_receipts -> Bool,
    }
}

diesel::table! {
    companies (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        name -> Text,
        domain -> Nullable<Text>,
        industry -> Nullable<Text>,
        size -> Nullable<Text>,
        phone -> Nullable<Text>,
        address -> Nullable<Text>,
        owner_id -> Nullable<Uuid>,
        external_id -> Nullable<Text>,
        tags -> Array<Text>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    contact_identities (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        contact_id -> Nullable<Uuid>,
        peer_id -> Uuid,
        kind -> Text,
        scope -> Text,
        value -> Text,
        match_key -> Nullable<Text>,
        trust -> Text,
        superseded_at -> Nullable<Timestamptz>,
        profile_name -> Nullable<Text>,
        profile_name_at -> Nullable<Timestamptz>,
        profile_name_by -> Nullable<Text>,
        names_contact -> Bool,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        marketing_opted_out_at -> Nullable<Timestamptz>,
        marketing_changed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    contacts (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        company_id -> Nullable<Uuid>,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        email -> Nullable<Text>,
        phone -> Nullable<Text>,
        phone_extension -> Nullable<Text>,
        title -> Nullable<Text>,
        owner_id -> Nullable<Uuid>,
        external_id -> Nullable<Text>,
        tags -> Array<Text>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    conversation_closings (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        closed_at -> Timestamptz,
    }
}

diesel::table! {
    conversation_labels (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        label_id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    conversations (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        contact_id -> Nullable<Uuid>,
        lead_id -> Nullable<Uuid>,
        channel -> Text,
        address -> Text,
        status -> Text,
        assignee_id -> Nullable<Uuid>,
        subject -> Nullable<Text>,
        started_at -> Timestamptz,
        last_message_at -> Timestamptz,
        unread_count -> Integer,
        window_expires_at -> Nullable<Timestamptz>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
        unread_new -> Integer,
        unread_since -> Timestamptz,
        channel_id -> Nullable<Uuid>,
        peer_id -> Nullable<Uuid>,
        window_closed_at -> Nullable<Timestamptz>,
        can_reply -> Bool,
        snoozed_until -> Nullable<Timestamptz>,
        last_inbound_at -> Nullable<Timestamptz>,
        handler -> Text,
        free_entry_expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    decisions (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        lead_id -> Uuid,
        conversation_id -> Nullable<Uuid>,
        author -> Text,
        author_id -> Nullable<Uuid>,
        decision -> Text,
        reason -> Nullable<Text>,
        score -> Nullable<Integer>,
        model -> Nullable<Text>,
        confidence -> Nullable<Numeric>,
        payload -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    duplicate_proposals (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        contact_id -> Uuid,
        other_id -> Uuid,
        reason -> Text,
        status -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    events (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        sequence -> BigInt,
        resource -> Text,
        action -> Text,
        row_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    external_users (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        external_id -> Text,
        source -> Nullable<Text>,
        name -> Text,
        email -> Nullable<Text>,
        title -> Nullable<Text>,
        active -> Bool,
        user_id -> Nullable<Uuid>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    holidays (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        day -> Date,
        name -> Text,
        staff_id -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_keys (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        fingerprint -> Binary,
        status -> Integer,
        location -> Nullable<Text>,
        etag -> Nullable<Text>,
        body -> Nullable<Binary>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        user_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    import_chunks (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        import_id -> Uuid,
        number -> Integer,
        data -> Binary,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    import_row_results (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        row_id -> Nullable<Uuid>,
        resource -> Text,
        outcome -> Text,
        version -> Nullable<BigInt>,
        before -> Nullable<Jsonb>,
        faults -> Nullable<Jsonb>,
        place -> Nullable<BigInt>,
        length -> Nullable<BigInt>,
    }
}

diesel::table! {
    imports (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        resource -> Text,
        format -> Text,
        file_name -> Nullable<Text>,
        bytes -> BigInt,
        lines -> BigInt,
        layout -> Jsonb,
        mapping -> Jsonb,
        targets -> Jsonb,
        match_by -> Array<Text>,
        on_match -> Text,
        state -> Text,
        read -> BigInt,
        created -> BigInt,
        changed -> BigInt,
        unchanged -> BigInt,
        failed -> BigInt,
        companies -> BigInt,
        reverted -> BigInt,
        kept -> BigInt,
        job_id -> Nullable<Uuid>,
        run_id -> Nullable<Uuid>,
        actor_kind -> Text,
        actor_id -> Nullable<Uuid>,
        emptied -> Bool,
        executed_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    inbound_bodies (id) {
        id -> Uuid,
        received_at -> Timestamptz,
        body -> Binary,
        signed_by -> Nullable<Uuid>,
        state -> Text,
        claim -> Integer,
        attempts -> Integer,
        failures -> Integer,
        next_item -> Integer,
        due_at -> Timestamptz,
        error -> Nullable<Text>,
        number_ids -> Array<Text>,
        people -> Array<Text>,
        also_signed_by -> Array<Uuid>,
    }
}

diesel::table! {
    inbound_updates (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        channel_id -> Uuid,
        kind -> Text,
        state -> Text,
        waits_for -> Nullable<Text>,
        digest -> Binary,
        received_at -> Timestamptz,
        payload -> Jsonb,
        people -> Array<Text>,
        error -> Nullable<Text>,
        attempts -> Integer,
        expires_at -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    invitations (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        email -> Text,
        name -> Text,
        role -> Text,
        hash -> Binary,
        expires_at -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    job_runs (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        input -> Jsonb,
        cursor -> Jsonb,
        total -> Nullable<BigInt>,
        done -> BigInt,
        failed -> BigInt,
        role -> Text,
        permissions -> Array<Text>,
        sees_only -> Nullable<Uuid>,
        token -> BigInt,
        attempts -> Integer,
        run_at -> Timestamptz,
        served_at -> Nullable<Timestamptz>,
        leased_until -> Nullable<Timestamptz>,
        progress_published_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    jobs (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        state -> Text,
        total -> Nullable<BigInt>,
        done -> BigInt,
        failed -> BigInt,
        result -> Nullable<Jsonb>,
        error -> Nullable<Jsonb>,
        actor_kind -> Text,
        actor_id -> Nullable<Uuid>,
        started_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    labels (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        name -> Text,
        color -> Text,
        description -> Nullable<Text>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    leads (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        company_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        campaign_id -> Nullable<Uuid>,
        assignee_id -> Nullable<Uuid>,
        title -> Text,
        status -> Text,
        score -> Integer,
        source -> Nullable<Text>,
        value_minor -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        tags -> Array<Text>,
        entered_at -> Timestamptz,
        first_touch_at -> Nullable<Timestamptz>,
        closed_at -> Nullable<Timestamptz>,
        lost_reason -> Nullable<Text>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
        furthest_stage -> Text,
    }
}

diesel::table! {
    media_fetches (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        message_id -> Uuid,
        channel_id -> Uuid,
        media_id -> Text,
        due_at -> Timestamptz,
        tries -> Integer,
        claim -> BigInt,
        gives_up_at -> Timestamptz,
        error -> Nullable<Text>,
    }
}

diesel::table! {
    memberships (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        role -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    merges (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        resource -> Text,
        survivor_id -> Uuid,
        from_ids -> Array<Text>,
        moved -> Jsonb,
        links -> Jsonb,
        changes -> Jsonb,
        reversible_until -> Timestamptz,
        reverted_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    message_attempts (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        message_id -> Uuid,
        conversation_id -> Uuid,
        channel_id -> Uuid,
        number -> Integer,
        place -> BigInt,
        purpose -> Text,
        state -> Text,
        external_id -> Nullable<Text>,
        error -> Nullable<Jsonb>,
        tries -> Integer,
        due_at -> Timestamptz,
        claim -> BigInt,
        finished_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    message_rates (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        external_id -> Nullable<Text>,
        market -> Text,
        category -> Text,
        valid_from -> Date,
        amount -> Numeric,
        currency -> Text,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    message_reactions (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        message_id -> Uuid,
        reactor -> Text,
        contact_id -> Nullable<Uuid>,
        emoji -> Text,
        external_id -> Text,
        reacted_at -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    messages (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        direction -> Text,
        author -> Text,
        author_id -> Nullable<Uuid>,
        kind -> Text,
        body -> Nullable<Text>,
        media -> Nullable<Jsonb>,
        external_id -> Nullable<Text>,
        status -> Text,
        sent_at -> Timestamptz,
        delivered_at -> Nullable<Timestamptz>,
        read_at -> Nullable<Timestamptz>,
        failed_reason -> Nullable<Text>,
        cost -> Nullable<Numeric>,
        cost_currency -> Nullable<Text>,
        model -> Nullable<Text>,
        input_tokens -> Nullable<Integer>,
        output_tokens -> Nullable<Integer>,
        ai_cost -> Nullable<Numeric>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        origin -> Text,
        reply_to_id -> Nullable<Uuid>,
        author_contact_id -> Nullable<Uuid>,
        payload -> Nullable<Jsonb>,
        error -> Nullable<Jsonb>,
        pricing -> Nullable<Jsonb>,
        edited_at -> Nullable<Timestamptz>,
        edited_by -> Nullable<Text>,
        revoked_at -> Nullable<Timestamptz>,
        media_state -> Nullable<Text>,
        cached_tokens -> Nullable<Integer>,
        latency_ms -> Nullable<Integer>,
        run_id -> Nullable<Text>,
        attachment_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    notes (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        body -> Text,
        pinned -> Bool,
        author_id -> Nullable<Uuid>,
        lead_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        company_id -> Nullable<Uuid>,
        conversation_id -> Nullable<Uuid>,
        booking_id -> Nullable<Uuid>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
    }
}

diesel::table! {
    oidc_login_attempts (state) {
        state -> Binary,
        secret -> Binary,
        nonce -> Text,
        verifier -> Text,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    password_tokens (hash) {
        hash -> Binary,
        user_id -> Uuid,
        expires_at -> Timestamptz,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    passwords (user_id) {
        user_id -> Uuid,
        hash -> Text,
        changed_at -> Timestamptz,
    }
}

diesel::table! {
    read_positions (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        user_id -> Uuid,
        read_until -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    read_receipts (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        channel_id -> Uuid,
        message_id -> Uuid,
        sent_at -> Timestamptz,
        queued_at -> Timestamptz,
        due_at -> Nullable<Timestamptz>,
        tries -> Integer,
        claim -> BigInt,
    }
}

diesel::table! {
    refresh_tokens (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        session_id -> Uuid,
        parent_id -> Nullable<Uuid>,
        hash -> Binary,
        used_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    schedule_hours (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        staff_id -> Uuid,
        weekday -> SmallInt,
        kind -> Text,
        starts_minute -> Integer,
        ends_minute -> Integer,
    }
}

diesel::table! {
    schedule_overrides (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        staff_id -> Uuid,
        day -> Date,
        hours -> Jsonb,
        reason -> Nullable<Text>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    send_limits (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        free_at -> Timestamptz,
    }
}

diesel::table! {
    service_secrets (name) {
        name -> Text,
        secret -> Binary,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    services (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        name -> Text,
        description -> Nullable<Text>,
        duration_minutes -> Integer,
        price_minor -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        active -> Bool,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
        buffer_before_minutes -> Integer,
        buffer_after_minutes -> Integer,
        slot_interval_minutes -> Integer,
        min_notice_minutes -> Integer,
        horizon_days -> Integer,
        capacity -> Integer,
        max_per_day -> Nullable<Integer>,
        cancel_until_minutes -> Nullable<Integer>,
        reschedule_until_minutes -> Nullable<Integer>,
        requires_confirmation -> Bool,
    }
}

diesel::table! {
    sessions (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        user_agent -> Nullable<Text>,
        address -> Nullable<Text>,
        created_at -> Timestamptz,
        last_used_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    staff (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        user_id -> Nullable<Uuid>,
        name -> Text,
        email -> Nullable<Text>,
        phone -> Nullable<Text>,
        time_zone -> Text,
        active -> Bool,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
        priority -> Integer,
        max_per_day -> Nullable<Integer>,
        schedule_set_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    staff_services (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        staff_id -> Uuid,
        service_id -> Uuid,
        duration_minutes -> Nullable<Integer>,
        price_minor -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    tasks (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        title -> Text,
        description -> Nullable<Text>,
        status -> Text,
        priority -> Text,
        due_at -> Nullable<Timestamptz>,
        completed_at -> Nullable<Timestamptz>,
        assignee_id -> Nullable<Uuid>,
        lead_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        company_id -> Nullable<Uuid>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        reminded_at -> Nullable<Timestamptz>,
        external_id -> Nullable<Text>,
    }
}

diesel::table! {
    template_syncs (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        channel_id -> Uuid,
        state -> Text,
        due_at -> Timestamptz,
        leased_until -> Nullable<Timestamptz>,
        token -> BigInt,
        attempts -> Integer,
        templates -> Nullable<Integer>,
        error -> Nullable<Text>,
        started_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    templates (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        channel_id -> Uuid,
        external_id -> Nullable<Text>,
        name -> Text,
        language -> Text,
        category -> Nullable<Text>,
        status -> Text,
        status_at -> Timestamptz,
        rejected_reason -> Nullable<Text>,
        quality -> Text,
        components -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        email -> Text,
        name -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    webhook_backlogs (business_id) {
        business_id -> Uuid,
        after -> BigInt,
    }
}

diesel::table! {
    webhook_deliveries (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        webhook_id -> Uuid,
        event_id -> Uuid,
        sequence -> BigInt,
        event_type -> Text,
        row_id -> Uuid,
        status -> Text,
        attempts -> Integer,
        next_attempt_at -> Timestamptz,
        log -> Jsonb,
        delivered_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        claim -> BigInt,
    }
}

diesel::table! {
    webhooks (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        url -> Text,
        description -> Nullable<Text>,
        types -> Array<Text>,
        status -> Text,
        paused_because -> Nullable<Text>,
        failing_since -> Nullable<Timestamptz>,
        secret -> Text,
        previous_secret -> Nullable<Text>,
        previous_until -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    worker_tasks (business_id, id) {
        business_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        status -> Text,
        conversation_id -> Nullable<Uuid>,
        payload -> Jsonb,
        priority -> Integer,
        run_at -> Timestamptz,
        dedupe_key -> Nullable<Text>,
        opened_at -> Timestamptz,
        attempts -> Integer,
        max_attempts -> Integer,
        token -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        result -> Nullable<Jsonb>,
        error -> Nullable<Text>,
        cancel_reason -> Nullable<Text>,
        ended_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}
