-- note: one event, to the history and to the outbox. A part of scripts, not one.
--
-- It is included by whatever makes the change that the event tells of, so that neither is there
-- without the other. `teller` is called before the first write: a stream of another type, or a
-- missing right to add to one, must fail the script while nothing has changed. It returns
--
--   note(what, {kind, id, name, owner}, stamp, detail)   stamp: ms since 1970, as text
--
-- While no group reads the outbox it does not exist, and nothing is kept in it.
local KEPT, TOLD = 10000, 10000 -- entries of an outbox, and of a history, at the most, about
-- include: rights/must

local function teller(outbox, history, actor, host)
  for _, stream in ipairs({outbox, history}) do
    redis.call('XLEN', stream)
    must_be_allowed('XADD', stream)
  end
  return function(what, subject, stamp, detail)
    -- A damaged record may have no name or no owner: what happens to it is told all the same.
    local event = {'type', what, 'kind', subject[1], 'id', subject[2], 'name', subject[3] or '',
      'owner', subject[4] or '', 'actor', actor, 'host', host, 'at', stamp, 'detail', detail}
    local id = redis.call('XADD', history, 'MAXLEN', '~', TOLD, '*', unpack(event))
    -- The same id in both, unless the history was removed while the clock jumped back.
    local same = redis.pcall('XADD', outbox, 'NOMKSTREAM', 'MAXLEN', '~', KEPT, id, unpack(event))
    if type(same) == 'table' and same.err then
      redis.call('XADD', outbox, 'NOMKSTREAM', 'MAXLEN', '~', KEPT, '*', unpack(event))
    end
  end
end

-- A detail: each name with its value, which becomes one word; without those whose value is false.
local function words(...)
  local pairs_of, said = {...}, {}
  for at = 1, #pairs_of, 2 do
    local value = pairs_of[at + 1]
    if value then said[#said + 1] = pairs_of[at] .. '=' .. tostring(value):gsub('[^!-~]', '_') end
  end
  return table.concat(said, ' '):sub(1, 400)
end
