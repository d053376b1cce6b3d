#!lua flags=allow-oom
-- withdraw: a header credential becomes an orphan, for access to what it is for was lost.
--
-- KEYS[1]  binding   STRING  {xx}:binding:<digest>, an id
-- KEYS[2]  orphans   ZSET    {xx}:orphans, records by when they were orphaned
-- KEYS[3]  outbox    STREAM  {xx}:outbox
-- KEYS[4]  history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  reason    for people
-- ARGV[3]  only      id of the one that is meant; empty: whichever it is
--
-- Returns  {"withdrawn", request}     also on a retry with the same request id, whatever came since
--          {"already", request}       it is an orphan, whose reason and time are kept
--          {"session", request}       a session's are never touched
--          {"absent", request}        there is none, or another than is meant
--          {"corrupt", request, id}   its status is unknown; left as it is
--
-- Why Lua: what it was is remembered, and the sweep's index changes with its status.
local binding, orphans = KEYS[1], KEYS[2]
local request, reason, only = ARGV[1], ARGV[2], ARGV[3]
-- include: event/note

local id = redis.call('GET', binding)
redis.call('ZCARD', orphans)
local note = teller(KEYS[3], KEYS[4], 'operator', '')
if not id or only ~= '' and id ~= only then return {'absent', request} end
local record = binding:match('^(.*:{%x%x}:)') .. 'headers:' .. id
local was = redis.call('HMGET', record, 'status', 'mode', 'reason', 'receipts', 'name',
  'identity')
if was[1] and was[4] and was[4]:find(request, 1, true) then return {'withdrawn', request} end
if not was[1] then return {'absent', request} end
if was[2] == 'session' then return {'session', request} end
if was[1] == 'orphaned' then return {'already', request} end
if was[1] ~= 'active' and was[1] ~= 'needs_update' then return {'corrupt', request, id} end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', binding:match('^[^:]+') .. ':changed', 'headers:' .. binding:match('%x+$'))
redis.call('ZADD', orphans, stamp, 'headers:' .. id)
redis.call('HSET', record, 'status', 'orphaned', 'reason', reason, 'status_at', stamp,
  'was', was[1], 'was_reason', was[3] or '', 'updated_at', stamp,
  'receipts', request .. ' ' .. (was[4] or ''):sub(1, 98))
note('orphaned', {'headers', id, was[5], was[6]}, stamp, words('from', was[1], 'reason', reason))
return {'withdrawn', request}
