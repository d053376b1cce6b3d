-- receivers: how far those have come who are told what happens. A part of scripts, not one.
--
-- `receivers` is given an outbox that is there, and returns
--
--   lags    {group, lag, …}   for each group, how many entries it has yet to acknowledge
--   keep    id of the first entry that not all have acknowledged; nil without a group
--   length  how many entries there are
local function named(flat)
  local fields = {}
  for at = 1, #flat, 2 do fields[flat[at]] = flat[at + 1] end
  return fields
end

local function receivers(outbox)
  local stream = named(redis.call('XINFO', 'STREAM', outbox))
  local dropped = stream['entries-added'] - stream.length
  local lags, keep, keep_ms, keep_seq = {}, nil, nil, nil
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', outbox)) do
    local group = named(flat)
    -- From here on it has not acknowledged all: the first that is held, or what comes after the last.
    local from = group.pending > 0 and redis.call('XPENDING', outbox, group.name)[2]
    local ms, seq = (from or group['last-delivered-id']):match('^(%d+)-(%d+)$')
    ms, seq = tonumber(ms), tonumber(seq)
    if not from then
      seq = seq + 1
      from = string.format('%d-%d', ms, seq)
    end
    if not keep or ms < keep_ms or ms == keep_ms and seq < keep_seq then
      keep, keep_ms, keep_seq = from, ms, seq
    end
    local read = math.max(group['entries-read'] or dropped, dropped)
    lags[#lags + 1] = group.name
    lags[#lags + 1] = stream['entries-added'] - read + group.pending
  end
  return lags, keep, stream.length
end
