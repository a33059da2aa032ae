-- Objects of the schema `public`, each with the table that it belongs to and its definition. Months of partitioned tables,
-- which a job attaches and drops, are left out with all that belongs to them, and so are owners and privileges.
WITH relation AS (
    SELECT c.* FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND c.relname <> '_sqlx_migrations' AND NOT (c.relispartition AND c.relname ~ '_[0-9]{6}$')
)
SELECT 'table ' || relname AS name, relname::text AS parent,
       concat_ws(' ',
           CASE relkind WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(oid) WHEN 'v' THEN 'view' WHEN 'm' THEN
               'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
           CASE WHEN relispartition THEN pg_get_expr(relpartbound, oid) END,
           CASE WHEN relpersistence = 'u' THEN 'unlogged' END,
           CASE WHEN relrowsecurity THEN 'row security' END,
           CASE WHEN relforcerowsecurity THEN 'forced' END,
           array_to_string(reloptions, ' '),
           CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END) AS definition
FROM relation
UNION ALL
SELECT format('column %s.%s', r.relname, a.attname), r.relname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN 'collate ' || a.attcollation::regcollation END,
           CASE WHEN a.attnotnull THEN 'not null' END,
           CASE WHEN a.attidentity <> '' THEN 'identity ' || a.attidentity::text END,
           CASE WHEN a.attgenerated <> '' THEN 'generated ' || a.attgenerated::text END,
           'default ' || pg_get_expr(d.adbin, d.adrelid))
FROM relation AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind <> 'S'
UNION ALL
SELECT format('constraint %s of %s', c.conname, r.relname), r.relname, pg_get_constraintdef(c.oid)
FROM relation AS r
JOIN pg_constraint AS c ON c.conrelid = r.oid AND c.contype IN ('c', 'f', 'p', 'u', 'x') AND c.conparentid = 0
UNION ALL
-- A partitioned index becomes valid once a later step has built it on each partition.
SELECT format('index %s', i.relname), r.relname,
       concat_ws(' ', pg_get_indexdef(i.oid), CASE WHEN NOT x.indisvalid AND i.relkind = 'i' THEN 'invalid' END)
FROM relation AS r
JOIN pg_index AS x ON x.indrelid = r.oid
JOIN pg_class AS i ON i.oid = x.indexrelid
WHERE NOT i.relispartition AND NOT r.relispartition
UNION ALL
SELECT format('trigger %s of %s', t.tgname, r.relname), r.relname,
       concat_ws(' ', pg_get_triggerdef(t.oid), CASE t.tgenabled WHEN 'D' THEN 'disabled' END)
FROM relation AS r
JOIN pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal AND t.tgparentid = 0
UNION ALL
SELECT format('policy %s of %s', p.polname, r.relname), r.relname,
       concat_ws(' ', p.polcmd, CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
           (SELECT string_agg(coalesce(rolname, 'public'), ',' ORDER BY rolname)
            FROM unnest(p.polroles) AS role LEFT JOIN pg_roles ON pg_roles.oid = role),
           'using ' || pg_get_expr(p.polqual, p.polrelid), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid))
FROM relation AS r
JOIN pg_policy AS p ON p.polrelid = r.oid
UNION ALL
SELECT format('sequence %s', r.relname), r.relname,
       format('%s start %s by %s from %s to %s%s', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin,
           s.seqmax, CASE WHEN s.seqcycle THEN ' cycle' END)
FROM relation AS r
JOIN pg_sequence AS s ON s.seqrelid = r.oid
UNION ALL
SELECT format('function %s', p.oid::regprocedure), NULL, pg_get_functiondef(p.oid)
FROM pg_proc AS p
WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
UNION ALL
SELECT format('type %s', t.typname), NULL,
       coalesce((SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum AS e
                 WHERE e.enumtypid = t.oid),
           concat_ws(' ', format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'not null' END, t.typdefault,
               (SELECT string_agg(pg_get_constraintdef(c.oid), ' ' ORDER BY c.conname) FROM pg_constraint AS c
                WHERE c.contypid = t.oid)))
FROM pg_type AS t
WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = t.oid AND deptype = 'e')
UNION ALL
SELECT format('extension %s', extname), NULL, 'extension' FROM pg_extension
UNION ALL
SELECT format('schema %s', nspname), NULL, 'schema' FROM pg_namespace
WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'graphile_worker')
