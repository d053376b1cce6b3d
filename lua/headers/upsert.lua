#!lua
-- upsert: the header credential of a binding, new or anew; with the flow that it was submitted in.
--
-- KEYS[1]  record    HASH    {xx}:headers:<id>, of a new one
-- KEYS[2]  binding   STRING  {xx}:binding:<digest>, the id of the one that is there
-- KEYS[3]  clients   ZSET    {xx}:client:<digest of client>, ids by creation
-- KEYS[4]  sealed    ZSET    {xx}:sealed, records by the key that sealed them
-- KEYS[5]  orphans   ZSET    {xx}:orphans, records by when they were orphaned
-- KEYS[6]  flow      STRING  {xx}:pending:<id>; the binding again, if there is none
-- KEYS[7]  claim     STRING  {xx}:claim:<id>, who may submit; likewise
-- KEYS[8]  outcome   STRING  {xx}:outcome:<id>; likewise
-- KEYS[9]  flows     ZSET    {xx}:pendings:<identity>, ids by expiry; the orphans again
-- KEYS[10] outbox    STREAM  {xx}:outbox
-- KEYS[11] history   STREAM  {xx}:history
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        of a new one
-- ARGV[3]  mode      user | vk | session | admin
-- ARGV[4]  identity  32 hex, digest of whose it is
-- ARGV[5]  client    32 hex, digest of what it is for
-- ARGV[6]  name      of the client, for people; empty: not to be told
-- ARGV[7]  digest    32 hex, of the binding
-- ARGV[8]  secret    sealed
-- ARGV[9]  key       8 hex, id of the key that sealed it; empty: not known
-- ARGV[10] grace     ms a tombstone lives, and an outcome at the least
-- ARGV[11] flow_id   the pending
-- ARGV[12] holder    16 bytes, digest of the request that claimed it
-- ARGV[13] by        who does it, for people: a-z, 0-9 and -
-- ARGV[14] answer    sealed, for who waits for the flow
-- ARGV[15] longest   ms an outcome lives at the most
-- ARGV[16] channel   where who waits listens
--
-- Returns  {"upserted", request, id, created, updated, ver}   also on a retry; times in ms
--          {"not_claimed", request}    another has claimed the flow, or nobody; nothing written
--          {"ended", request, how}     the flow has; likewise
--          {"gone", request}           the flow is past its life; likewise
--          {"corrupt", request}        the flow's record
--
-- Why Lua: the record, its indexes and its flow change together; so a flow that was withdrawn, or
-- that another has claimed, brings no credential back.
-- Not allow-oom: on a full Redis nothing new starts; the flow stays, to be submitted again.
local record, binding, clients, sealed, orphans = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local flow, claim, outcome, flows = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local request, id, mode, identity, client = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local name, digest, secret, key, grace = ARGV[6], ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local flow_id, holder, by, answer = ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local longest, channel = tonumber(ARGV[15]), ARGV[16]
-- include: event/note

local there = redis.call('GET', binding) or id
-- The record that is there is named as the new one would be, in the same slot.
local base = record:sub(1, #record - #id)
local was = redis.call('HMGET', base .. there, 'status', 'created_at', 'updated_at', 'ver',
  'receipts', 'binding', 'reason')
redis.call('HLEN', record)
for _, index in ipairs({clients, sealed, orphans, flows}) do redis.call('ZCARD', index) end
local value, held = redis.call('GET', flow), redis.call('GET', claim)
redis.call('STRLEN', outcome)
local note = teller(KEYS[10], KEYS[11], mode == 'admin' and 'operator' or 'owner', '')
-- A binding that leads to another's record leads nowhere.
if was[6] ~= digest then was = {} end
if was[5] and was[5]:find(request, 1, true) then
  return {'upserted', request, there, was[2], was[3], was[4]}
end

local offset, left
if flow ~= binding then
  if not value then return {'gone', request} end
  offset = tonumber(value:sub(56, 59))
  if not offset or value:sub(1, 3) ~= 'v1 ' or #value < offset + 48 then return {'corrupt', request} end
  local state = value:sub(4, 12):match('^%l+')
  if state ~= 'live' then return {'ended', request, state} end
  left = redis.call('PTTL', flow) - grace
  if left <= 0 then return {'gone', request} end
  if held ~= holder then return {'not_claimed', request} end
end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
-- Of one that was removed a moment ago only receipts are left: the next has an id of its own.
if not was[1] then there = id end
-- With the record's receipt a retry takes all the rest for done.
must_be_allowed('HSET', base .. there)
must_be_allowed('HDEL', base .. there)
if flow ~= binding then
  must_be_allowed('SETRANGE', flow)
  must_be_allowed('PEXPIRE', flow)
  must_be_allowed('UNLINK', claim)
  must_be_allowed('ZREM', flows)
  must_be_allowed('SET', outcome)
  must_be_allowed('PUBLISH', channel)
end
-- Told first: nobody reads before this is done, and a missing right fails here.
redis.call('PUBLISH', record:match('^[^:]+') .. ':changed', 'headers:' .. digest)
if not was[1] then redis.call('UNLINK', record) end
local created = was[1] and tonumber(was[2]) and was[2] or stamp
local ver = (was[1] and tonumber(was[4]) or 0) + 1
local member = 'headers:' .. there
-- The indexes first, then the record: where a right to them is missing, a retry does the rest.
redis.call('ZADD', clients, 'NX', created, there)
redis.call('ZREM', orphans, member)
redis.call('ZREM', sealed, member)
if key ~= '' then redis.call('ZADD', sealed, tonumber(key, 16), member) end
redis.call('SET', binding, there)
redis.call('HSET', base .. there, 'v', 1, 'status', 'active', 'status_at', stamp, 'mode', mode,
  'identity', identity, 'client', client, 'name', name, 'binding', digest, 'secret', secret,
  'key', key, 'receipts', request .. ' ' .. (was[5] or ''):sub(1, 98), 'created_at', created,
  'updated_at', stamp, 'ver', ver)
local subject = {'headers', there, name, identity}
note('connect_completed', subject, stamp, words('ver', ver))
if was[1] and was[1] ~= 'active' then
  note('recovered', subject, stamp, words('from', was[1], 'reason', was[7] ~= '' and was[7]))
end
redis.call('HDEL', base .. there, 'reason', 'was', 'was_reason')
if flow ~= binding then
  local at = string.format('%013d', stamp)
  local taker = request:gsub('%x%x', function(hex) return string.char(tonumber(hex, 16)) end)
  redis.call('SETRANGE', flow, 3, 'completed' .. value:sub(13, 40) .. ' ' .. at
    .. value:sub(55, offset + 16) .. taker)
  redis.call('PEXPIRE', flow, grace)
  redis.call('UNLINK', claim)
  redis.call('ZREM', flows, flow_id)
  redis.call('SET', outcome, 'v1 completed ' .. at .. ' ' .. by .. '\n' .. answer,
    'PX', math.max(grace, math.min(left, longest)))
  redis.call('PUBLISH', channel, flow_id)
end
return {'upserted', request, there, created, stamp, ver}
