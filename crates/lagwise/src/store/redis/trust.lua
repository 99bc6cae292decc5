-- Whether this server may have forgotten something within the last `keep` milliseconds.
--
-- The marker says which run of which server it is of, how many keys had been evicted, and since when
-- that has been so. A server that is not the marker's came back empty, with older data, or took over
-- from one that it was behind. `unkept` is an instance that says that it could not keep something.
--
-- KEYS: the entry, the marker. ARGV: keep, in milliseconds; 1 if unkept; the claim, if there is one.
local keep, unkept = tonumber(ARGV[1]), ARGV[2] == '1'

local function may_have_forgotten()
  -- A copy that may not be written is behind: this has it refuse.
  redis.call('PERSIST', KEYS[2])
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local server = run .. ' ' .. evicted
  local known = redis.call('GET', KEYS[2])
  local before, since = nil, nil
  if known then
    before, since = string.match(known, '^(%w+ %d+) (%d+)$')
  end
  if unkept or before ~= server or tonumber(since) > now then
    redis.call('SET', KEYS[2], server .. ' ' .. string.format('%.0f', now))
    return true
  end
  return now - tonumber(since) < keep
end
