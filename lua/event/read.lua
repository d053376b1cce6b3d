#!lua flags=allow-oom
-- read: hand a page of a shard's outbox to one consumer of a group.
--
-- KEYS[1]  outbox    STREAM  {xx}:outbox
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  group     who is told
-- ARGV[3]  consumer  who tells
-- ARGV[4]  after     id of the last entry of the page before; empty for the first
-- ARGV[5]  count     at most so many entries, 1 to 100
-- ARGV[6]  idle      ms after which what another consumer holds is taken over
--
-- Returns  {"page", request, lost, entries}   how many were dropped untold; what is held from now on
--          {"held", request, ms}              another consumer holds some for so much longer
--          {"closed", request}                there is no such group
--
-- Why Lua: one consumer at a time tells what happened in a shard, or a record's events would be told
-- out of their order; and what the cap dropped is counted before the group is moved past it.
local outbox, request, group, consumer = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local after, count, idle = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

local function named(flat)
  local fields = {}
  for at = 1, #flat, 2 do fields[flat[at]] = flat[at + 1] end
  return fields
end
if redis.call('XLEN', outbox) == 0 and redis.call('EXISTS', outbox) == 0 then
  return {'closed', request}
end
local ours
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', outbox)) do
  local found = named(flat)
  if found.name == group then ours = found end
end
if not ours then return {'closed', request} end
local stream = named(redis.call('XINFO', 'STREAM', outbox))
local holders = redis.call('XPENDING', outbox, group)[4] or {}
for _, holder in ipairs(holders) do
  if holder[1] ~= consumer then
    -- Each round of pages begins with the lowest id, so that is as fresh as its holder.
    local first = redis.call('XPENDING', outbox, group, '-', '+', 1, holder[1])[1]
    if first and first[3] < idle then return {'held', request, idle - first[3]} end
  end
end

local dropped, lost = stream['entries-added'] - stream.length, 0
if ours['entries-read'] and ours['entries-read'] < dropped then
  lost = dropped - ours['entries-read']
  redis.call('XGROUP', 'SETID', outbox, group, ours['last-delivered-id'], 'ENTRIESREAD', dropped)
end
local ids, entries = {}, {}
local from = after == '' and '-' or '(' .. after
for _, held in ipairs(redis.call('XPENDING', outbox, group, from, '+', count)) do
  ids[#ids + 1] = held[1]
end
if #ids > 0 then
  -- Without those that the cap has dropped since they were handed out.
  entries = redis.call('XCLAIM', outbox, group, consumer, 0, unpack(ids)) -- at most 100
  lost = lost + #ids - #entries
end
if #ids < count then
  local fresh = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - #ids,
    'STREAMS', outbox, '>')
  for _, entry in ipairs(fresh and fresh[1][2] or {}) do entries[#entries + 1] = entry end
end
return {'page', request, lost, entries}
