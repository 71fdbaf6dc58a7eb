-- Both gates in PostgreSQL: a resource refuses an operation whose grant a later, conflicting one has overtaken.
--
-- One row of enq.gate stands for one resource of the lock manager. It is locked while it is looked at, so that of two
-- operations one comes first, and it is changed in the same transaction as what it guards, so that both are there or
-- neither. Numbers of grants have 63 bits: they fit into bigint.
--
-- What a gate cannot do stands in docs/sessions.md. Two things are to be known here. Raise the gate in a transaction of
-- its own, and commit it, before anything is read: a gate that is rolled back was never raised. And who may disable
-- triggers or write to enq.gate needs no gate: applications get EXECUTE on the functions, and no right on the schema's
-- table, which the functions change as their owner.

CREATE SCHEMA enq;

CREATE TABLE enq.gate (
    resource text PRIMARY KEY,
    fence bigint NOT NULL DEFAULT 0, -- the scalar gate: the highest fence seen
    nl bigint NOT NULL DEFAULT 0,    -- the gate per mode: the highest seq seen in each
    cr bigint NOT NULL DEFAULT 0,
    cw bigint NOT NULL DEFAULT 0,
    pr bigint NOT NULL DEFAULT 0,
    pw bigint NOT NULL DEFAULT 0,
    ex bigint NOT NULL DEFAULT 0
);

-- The row of a resource, locked until the transaction ends; made if it is not there.
CREATE FUNCTION enq.gate_of(resource text) RETURNS enq.gate
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found enq.gate;
BEGIN
    INSERT INTO enq.gate (resource) VALUES (gate_of.resource) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT found FROM enq.gate WHERE gate.resource = gate_of.resource FOR UPDATE;
    RETURN found;
END $$;

CREATE FUNCTION enq.refuse(resource text, shown bigint, seen bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the grant behind % is out of date: % has seen %', coalesce(shown, 0), resource, seen
        USING ERRCODE = 'QF001', HINT = 'the lock was lost: begin anew with another one';
END $$;

-- The scalar gate, for CW, PR, PW and EX. Fence 0 is refused: NL and CR are not fenced.
CREATE FUNCTION enq.pass_fence(resource text, fence bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seen bigint := (enq.gate_of(resource)).fence;
BEGIN
    IF fence IS NULL OR fence <= 0 OR fence < seen THEN
        PERFORM enq.refuse(resource, fence, seen);
    ELSIF fence > seen THEN
        UPDATE enq.gate SET fence = pass_fence.fence WHERE gate.resource = pass_fence.resource;
    END IF;
END $$;

-- The gate per mode, for all six: refused if a mode that may not stand beside this one has a higher mark.
CREATE FUNCTION enq.pass_seq(resource text, mode text, seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g enq.gate := enq.gate_of(resource);
    seen bigint := CASE upper(mode)
        WHEN 'NL' THEN 0
        WHEN 'CR' THEN g.ex
        WHEN 'CW' THEN greatest(g.pr, g.pw, g.ex)
        WHEN 'PR' THEN greatest(g.cw, g.pw, g.ex)
        WHEN 'PW' THEN greatest(g.cw, g.pr, g.pw, g.ex)
        WHEN 'EX' THEN greatest(g.cr, g.cw, g.pr, g.pw, g.ex)
    END;
BEGIN
    -- An unknown mode has no row in the table above, and NULL must not pass.
    IF seen IS NULL OR seq IS NULL OR seq < seen THEN
        PERFORM enq.refuse(resource, seq, seen);
    END IF;
    UPDATE enq.gate SET
        nl = CASE upper(mode) WHEN 'NL' THEN greatest(nl, seq) ELSE nl END,
        cr = CASE upper(mode) WHEN 'CR' THEN greatest(cr, seq) ELSE cr END,
        cw = CASE upper(mode) WHEN 'CW' THEN greatest(cw, seq) ELSE cw END,
        pr = CASE upper(mode) WHEN 'PR' THEN greatest(pr, seq) ELSE pr END,
        pw = CASE upper(mode) WHEN 'PW' THEN greatest(pw, seq) ELSE pw END,
        ex = CASE upper(mode) WHEN 'EX' THEN greatest(ex, seq) ELSE ex END
    WHERE gate.resource = pass_seq.resource;
END $$;

-- Says under which fence the rest of this transaction works. It is forgotten at the transaction's end, so a connection
-- that comes back from a pool brings nobody else's fence.
CREATE FUNCTION enq.under(fence bigint) RETURNS void
LANGUAGE sql AS $$ SELECT pg_catalog.set_config('enq.fence', fence::text, true) $$;

-- The scalar gate as a trigger: whatever the statement says, a row is written under a fence that is not out of date, or
-- not at all. Its arguments are a prefix and a column; together they name the resource of a row.
CREATE FUNCTION enq.refuse_stale() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    fence bigint := nullif(current_setting('enq.fence', true), '')::bigint;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM enq.pass_fence(TG_ARGV[0] || (to_jsonb(OLD) ->> TG_ARGV[1]), fence);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM enq.pass_fence(TG_ARGV[0] || (to_jsonb(NEW) ->> TG_ARGV[1]), fence);
        RETURN NEW;
    END IF;
    RETURN OLD;
END $$;

-- TRUNCATE names no row, so no gate can be asked.
CREATE FUNCTION enq.refuse_truncate() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is guarded row by row: DELETE under a fence', TG_TABLE_NAME USING ERRCODE = 'QF001';
END $$;

-- An example of a guarded table: the lock on the resource account/ID guards the row with that id.
CREATE TABLE account (
    id text PRIMARY KEY,
    balance bigint NOT NULL
);

CREATE TRIGGER fenced BEFORE INSERT OR UPDATE OR DELETE ON account
    FOR EACH ROW EXECUTE FUNCTION enq.refuse_stale('account/', 'id');
CREATE TRIGGER fenced_truncate BEFORE TRUNCATE ON account
    FOR EACH STATEMENT EXECUTE FUNCTION enq.refuse_truncate();
