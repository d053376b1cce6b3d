#!lua flags=allow-oom
-- reseal: put a secret of a connection back that was sealed anew; nothing else changes.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  sealed    ZSET  {xx}:sealed, what is sealed by the key that sealed it
-- ARGV[1]  request   32 hex, digest of the request id, for the echo
-- ARGV[2]  id        the connection
-- ARGV[3]  old       sealed, as it was read; empty: only the index is mended
-- ARGV[4]  new       the same, sealed anew
-- ARGV[5]  key       8 hex, which key sealed it anew
--
-- Returns  {"resealed", request}   also on a retry, which finds it done
--          {"changed", request}    another secret took its place meanwhile, and stays
--          {"absent", request}     no such connection, or not any more
--
-- Why Lua: a refresh may have stored another secret since it was read, which must not be undone. The
-- secret itself tells: no two seals of it are alike.
local conn, sealed = KEYS[1], KEYS[2]
local request, id, old, new, key = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
-- include: connection/record

local was, held = read(conn, {'status'})
redis.call('ZSCORE', sealed, 'conn:' .. id)
if not was[1] then
  index_answers(sealed, id, {})
  return {'absent', request}
end
-- A sibling may have moved up.
local found = false
for at, answer in ipairs(held) do
  if old ~= '' and answer[1] == old then
    -- The record first: an index that is behind is looked at again.
    redis.call('HSET', conn, ANSWERS[at][1], new, ANSWERS[at][2], key)
    answer[1], answer[2] = new, key
  end
  found = found or new ~= '' and answer[1] == new
end
index_answers(sealed, id, held)
if not found then return {'changed', request} end
return {'resealed', request}
