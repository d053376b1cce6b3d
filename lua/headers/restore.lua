#!lua flags=allow-oom
-- restore: an orphaned header credential becomes what it was, for access is back.
--
-- KEYS[1]  binding   STRING  {xx}:binding:<digest>, an id
-- KEYS[2]  orphans   ZSET    {xx}:orphans, records by when they were orphaned
-- KEYS[3]  outbox    STREAM  {xx}:outbox
-- KEYS[4]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  only      id of the one that is meant; empty: whichever it is
--
-- Returns  {"restored", request, status}   what it is; also on a retry with the same request id
--          {"not_orphaned", request}       nothing written
--          {"absent", request}             there is none, or another than is meant, or it was swept
--          {"corrupt", request, id}        what it was is unknown; left as it is
--
-- Why Lua: its status and the sweep's index change together, and never after it was swept.
local binding, orphans, request, only = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
-- include: event/note

local id = redis.call('GET', binding)
redis.call('ZCARD', orphans)
local note = teller(KEYS[3], KEYS[4], 'operator', '')
if not id or only ~= '' and id ~= only then return {'absent', request} end
local record = binding:match('^(.*:{%x%x}:)') .. 'headers:' .. id
local is = redis.call('HMGET', record, 'status', 'was', 'was_reason', 'receipts', 'name',
  'identity')
if not is[1] then return {'absent', request} end
if is[4] and is[4]:find(request, 1, true) then return {'restored', request, is[1]} end
if is[1] == 'active' or is[1] == 'needs_update' then return {'not_orphaned', request} end
if is[1] ~= 'orphaned' or is[2] ~= 'active' and is[2] ~= 'needs_update' then
  return {'corrupt', request, id}
end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', binding:match('^[^:]+') .. ':changed', 'headers:' .. binding:match('%x+$'))
must_be_allowed('HSET', record)
must_be_allowed('HDEL', record)
redis.call('ZREM', orphans, 'headers:' .. id)
redis.call('HSET', record, 'status', is[2], 'reason', is[3] or '', 'status_at', stamp,
  'updated_at', stamp, 'receipts', request .. ' ' .. (is[4] or ''):sub(1, 98))
note('reactivated', {'headers', id, is[5], is[6]}, stamp, words('to', is[2]))
redis.call('HDEL', record, 'was', 'was_reason')
return {'restored', request, is[2]}
