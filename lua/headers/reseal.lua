#!lua flags=allow-oom
-- reseal: put the headers of a credential back that were sealed anew; nothing else changes.
--
-- KEYS[1]  record    HASH  {xx}:headers:<id>
-- KEYS[2]  sealed    ZSET  {xx}:sealed, records by the key that sealed them
-- ARGV[1]  request   32 hex, digest of the request id, for the echo
-- ARGV[2]  id        the credential
-- ARGV[3]  old       sealed, as they were read; empty: only the index is mended
-- ARGV[4]  new       the same, sealed anew
-- ARGV[5]  key       8 hex, which key sealed them anew
--
-- Returns  {"resealed", request}   also on a retry, which finds it done
--          {"changed", request}    others took their place meanwhile, and stay
--          {"absent", request}     no such credential, or not any more
--
-- Why Lua: others may have been stored since they were read, which must not be undone. The sealed
-- headers themselves tell: no two seals of them are alike.
local record, sealed = KEYS[1], KEYS[2]
local request, id, old, new, key = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local was = redis.call('HMGET', record, 'status', 'secret', 'key')
local member = 'headers:' .. id
redis.call('ZSCORE', sealed, member)
if not was[1] then
  redis.call('ZREM', sealed, member)
  return {'absent', request}
end
local secret, by = was[2], was[3] or ''
if old ~= '' and secret == old then
  -- The record first: an index that is behind is looked at again.
  redis.call('HSET', record, 'secret', new, 'key', key)
  secret, by = new, key
end
if by ~= '' then
  redis.call('ZADD', sealed, tonumber(by, 16) or 0, member)
else
  redis.call('ZREM', sealed, member)
end
if new == '' or secret ~= new then return {'changed', request} end
return {'resealed', request}
