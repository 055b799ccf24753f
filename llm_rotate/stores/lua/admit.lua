-- Answers many requests in one step, each with the first of its candidates that may go.
-- ARGV: 1 epoch and 2 count as the caller knows them, 3 lease ms, 4 number of buckets,
-- 5 number of candidates, 6 number of lists, then
--   per bucket its name, its limits (see FIELDS), seconds until the next two ends of its day
--     ("": it has none),
--   per candidate "flag subject# ... |bucket# ..." ("-": it may not go for reasons of its own),
--   per list "candidate# candidate# ..." with "|" at its end if one of them has buckets, per
--     request "lease_id list# input output dollars patience" (seconds for which it may keep
--     others from what it waits for).
-- Reply: now, epoch, count, news {subject, state, ...}, per request {place in its list,
-- version or versiont (a trial) of each subject}, or 0, or where limits may be the reason
-- {0, per candidate of its list {bucket#, seconds, seconds for the smallest, the limit's
-- name, the limit, what is taken of it, 1 if learned} or 0}; per candidate {subject#, ms, 1
-- if a trial} or 0.
local values = redis.call('MGET', unpack(KEYS))
local epoch, count = life(values[1], values[2])

-- What is gone is no news any more: names of models come from callers, and would add up.
local function news(since)
  local found = {}
  local subjects = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. since, '+inf')
  for first = 1, #subjects, 1000 do
    local names = {}
    for i = first, math.min(first + 999, #subjects) do
      local bucket = string.match(subjects[i], '^room|(.*)$')
      names[#names + 1] = bucket and SPACE .. 'b:' .. bucket or SPACE .. 's:' .. subjects[i]
    end
    for i, value in ipairs(redis.call('MGET', unpack(names))) do
      local subject = subjects[first + i - 1]
      if not value then
        redis.call('ZREM', KEYS[3], subject)
      end
      found[#found + 1] = subject
      found[#found + 1] = value and string.find(value, PATTERN) and value or ''
    end
  end
  return found
end

local heard = {}
local since = ARGV[1] == epoch and tonumber(ARGV[2]) or 0
if count > since then
  heard = news(since)
end

-- Of many candidates the first is mostly taken: each word is read when it is needed.
local BUCKETS = 6
local CANDIDATES = BUCKETS + 3 * tonumber(ARGV[4])
local LISTS = CANDIDATES + tonumber(ARGV[5])
local REQUESTS = LISTS + tonumber(ARGV[6])
local limits, candidates = {}, {}

local function limit_of(number)
  local limit = limits[number]
  if not limit then
    local at = BUCKETS + 3 * (number - 1)
    limit = {number = number, name = ARGV[at + 1], row = ARGV[at + 2], day = ARGV[at + 3]}
    limits[number] = limit
  end
  return limit
end

local function candidate_of(number)
  local candidate = candidates[number]
  if not candidate then
    local flag, subjects, buckets = string.match(ARGV[CANDIDATES + number], '^(.)([^|]*)|?(.*)$')
    candidate = {is_barred = flag == '-', subjects = {}, limits = {}}
    for word in string.gmatch(subjects, '%d+') do
      table.insert(candidate.subjects, tonumber(word))
    end
    for word in string.gmatch(buckets, '%d+') do
      table.insert(candidate.limits, limit_of(tonumber(word)))
    end
    candidates[number] = candidate
  end
  return candidate
end

local function list_of(number)
  local row = ARGV[LISTS + number]
  local list = {is_limited = string.sub(row, -1) == '|'}
  for word in string.gmatch(row, '%d+') do
    list[#list + 1] = tonumber(word)
  end
  return list
end

local states, touched = {}, {}
local function state_of(number)
  local state = states[number]
  if state == nil then
    local value = values[3 + number]
    state = value and read(value) or false
    states[number] = state
  end
  return state
end

-- The subject that keeps a candidate back longest, until when, and whether by a trial.
local function barrier(candidate, lease)
  local worst, till, is_trial = nil, now, false
  for _, number in ipairs(candidate.subjects) do
    local state = state_of(number)
    if state and state.kind ~= 'A' then
      local rests = state.kind ~= 'P' and state.till > now
      local ends = rests and state.till
        or (state.trial ~= '' and state.trial ~= lease and state.trial_till or 0)
      if ends > till then
        worst, till, is_trial = number, ends, not rests
      end
    end
  end
  return worst, till, is_trial
end

local function holds(candidate, lease)
  for _, number in ipairs(candidate.subjects) do
    local state = state_of(number)
    if state and state.trial == lease then
      return true
    end
  end
  return false
end

local function lend(candidate, lease, place)
  local granted = {place}
  for i, number in ipairs(candidate.subjects) do
    local state = state_of(number)
    if not state then
      granted[i + 1] = '0'
    elseif state.kind == 'A' then
      granted[i + 1] = whole(state.version)
    else
      granted[i + 1] = whole(state.version) .. 't'
      state.trial, state.trial_till = lease, now + tonumber(ARGV[3])
      touched[number] = true
    end
  end
  return granted
end

-- A request of a large part of a limit waits until much room is there at once. While it
-- does, the requests of other workers (who keep the order of their own) must not take it: who
-- waits claims the bucket, and the oldest claim holds. Who is kept out by a claim lays one too,
-- and so has its turn. Who will not wait claims nothing, or it would keep all others out for
-- nobody; who waits asks again every LOOKS_S, or is gone.
-- A slot is taken again at once by the worker that gave it back, if calls wait there: who has
-- waited for one for SLOT_S claims one of the next.
local LOOKS_S, CLAIM_S, LOOK_AGAIN_S, LARGE = 5, 1, 0.25, 0.5
local SLOT, SLOT_S = 'max_concurrency', 2

local function worker_of(lease)
  return string.match(lease, '^(.-)%-') or lease
end

-- What keeps a bucket with room for others: claims of other workers that are older than one's
-- own. Claims of slots do where as many are free as there are claims, or less.
local function older_claim(bucket, who)
  local own, before, found = bucket.claims[who], 0, nil
  for other, claim in pairs(bucket.claims) do
    if claim.till <= seconds then
      bucket.claims[other] = nil
    elseif other ~= who and claim.from <= seconds and not (own and own.from <= claim.from) then
      if claim.limit ~= SLOT then
        return claim
      end
      before, found = before + 1, claim
    end
  end
  if found and (bucket.spec.max_concurrency or 0) - size(bucket.leases) > before then
    return nil
  end
  return found
end

-- The limit of tokens of which the request needs a large part of what may go at once.
local function large_part(bucket, cost)
  for _, meter in ipairs(bucket.meters) do
    if meter.kind > 0 and amount_of(cost, meter.kind) > LARGE * meter.burst then
      return NAMES[meter.kind + 1]
    end
  end
end

local function lay_claim(limit, who, claim)
  local claims = bucket_of(limit.name).claims
  local before = claims[who]
  if before and before.limit == claim.limit and before.till > seconds then
    claim.from = before.from
  end
  claims[who] = claim
  changed[limit.name] = true
end

-- `full`: why the candidate is (see `why`).
local function claim(candidate, full, cost, who, patience)
  local wait, till = tonumber(full[2]), seconds + math.min(LOOKS_S, patience) + CLAIM_S
  for _, limit in ipairs(candidate.limits) do
    local name = large_part(bucket_of(limit.name), cost)
    if name and wait <= patience then
      lay_claim(limit, who, {limit = name, from = seconds, till = till})
    elseif full[4] == SLOT and limit.number == full[1] then
      lay_claim(limit, who, {limit = SLOT, from = seconds + SLOT_S, till = till})
    elseif limit.kept_for then
      lay_claim(limit, who, {limit = limit.kept_for, from = seconds, till = till, is_small = true})
    end
  end
end

-- The candidate's bucket that has no room for longest, or nil.
local function fullness(candidate, cost, who)
  local worst, longest, name = nil, 0, nil
  for _, limit in ipairs(candidate.limits) do
    local bucket = bucket_of(limit.name, limit.row)
    if limit.day ~= '' and seconds >= bucket.day_ends then
      turn_day(bucket, limit.name, limit.day)
    end
    local wait, due = wait_for(bucket, limit.name, cost)
    local claim = wait < LOOK_AGAIN_S and older_claim(bucket, who)
    local own = bucket.claims[who]
    if claim then
      wait, due = LOOK_AGAIN_S, claim.limit
    elseif due == SLOT and own and own.limit == SLOT and own.from <= seconds then
      wait = math.min(wait, LOOK_AGAIN_S) -- the next is its own: others leave it free
    end
    limit.is_full, limit.kept_for = wait > 0, claim and claim.limit
    if wait > longest then
      worst, longest, name = limit, wait, due
    end
  end
  return worst, longest, name
end

-- Somebody is turned away: told once there is room, with the wait of the smallest request.
local function turned_away(candidate)
  local least = 0
  for _, limit in ipairs(candidate.limits) do
    local bucket = bucket_of(limit.name)
    if limit.is_full and not bucket.is_wanted then
      bucket.is_wanted, changed[limit.name] = true, true
    end
    least = math.max(least, (wait_for(bucket, limit.name, SMALLEST)))
  end
  return least
end

local function why(candidate, cost, who)
  local worst, longest, name = fullness(candidate, cost, who)
  if not worst then
    return 0, 0
  end
  local found = {worst.number, decimal(longest), decimal(turned_away(candidate)), name}
  for _, room in ipairs(rooms_of(bucket_of(worst.name), worst.name)) do
    if room[1] == name then
      found[5], found[6], found[7] = room[2], room[3], room[4]
    end
  end
  return found, longest
end

local function reserve_all(candidate, lease, cost, place)
  if #candidate.limits > 0 then
    local took, who = {place = place}, worker_of(lease)
    for i, limit in ipairs(candidate.limits) do
      local bucket = bucket_of(limit.name)
      local claim = bucket.claims[who]
      if claim and (claim.limit == SLOT or claim.is_small or large_part(bucket, cost)) then
        bucket.claims[who] = nil
      end
      took[i] = reserve(bucket, limit.name, lease, cost)
    end
    keep_taken(lease, took)
  end
end

local holders = {}
for number = 1, #KEYS - 3 do
  local state = state_of(number)
  if state and state.trial ~= '' then
    holders[state.trial] = true
  end
end

-- Asked before, and the answer was lost: where the lease was lent then.
local function lent(lease, list, is_known)
  local took = is_known and taken_by(lease)
  if took then
    return took.place
  end
  for place, number in ipairs(holders[lease] and list or {}) do
    if holds(candidate_of(number), lease) then
      return place
    end
  end
end

local is_asked = {}
local function answer(request, list)
  local lease, cost = request.lease, request.cost
  local before = lent(lease, list, request.is_known)
  if before then
    return before == GIVEN_BACK and 0 or lend(candidate_of(list[before]), lease, before)
  end
  local reasons, who, next_one, reason, soonest = {0}, worker_of(lease), nil, nil, INF
  for place, number in ipairs(list) do
    local candidate = candidate_of(number)
    local is_free = not candidate.is_barred and not barrier(candidate, lease)
    local full, wait = 0, 0
    if is_free then
      full, wait = why(candidate, cost, who)
    end
    if full ~= 0 and wait < soonest then
      next_one, reason, soonest = candidate, full, wait
    end
    if is_free and full == 0 then
      reserve_all(candidate, lease, cost, place)
      return lend(candidate, lease, place)
    end
    reasons[place + 1] = full
  end
  if next_one and request.patience > 0 then
    claim(next_one, reason, cost, who, request.patience)
  end
  for _, number in ipairs(list) do
    is_asked[number] = true
  end
  return list.is_limited and reasons or 0
end

local requests, records = {}, {}
for i = REQUESTS + 1, #ARGV do
  local lease, number, input, output, dollars, patience =
    string.match(ARGV[i], '^(%S+) (%d+) (%S+) (%S+) (%S+) (%S+)$')
  local cost = {tonumber(input), tonumber(output), tonumber(dollars)}
  requests[#requests + 1] = {lease = lease, list = number, cost = cost,
    patience = tonumber(patience)}
  records[#records + 1] = SPACE .. 'l:' .. lease
end
if tonumber(ARGV[4]) > 0 and #records > 0 then
  for i, value in ipairs(redis.call('MGET', unpack(records))) do
    requests[i].is_known = value
  end
end

local answers, lists = {}, {}
for i, request in ipairs(requests) do
  local number = request.list
  lists[number] = lists[number] or list_of(number)
  answers[i] = answer(request, lists[number])
end
keep_buckets()

for number in pairs(touched) do
  redis.call('SET', KEYS[3 + number], written(states[number]), 'KEEPTTL')
end

local barriers = {}
for number = 1, tonumber(ARGV[5]) do
  local worst, till, is_trial
  if is_asked[number] then
    worst, till, is_trial = barrier(candidate_of(number), '')
  end
  barriers[number] = worst and {worst, whole(till - now), is_trial and 1 or 0} or 0
end
return {whole(now), epoch, whole(count), heard, answers, barriers}
