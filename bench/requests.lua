-- Replays the request lines of a file, split over the threads: "<path>\t<key>", for a change "\t<its body>", and for a
-- conditional request "\t\t<its ETag>". Arguments: the file, the number of threads, milliseconds between a response and
-- the next request of a connection, and "browser" to accept compressed responses.
local requests = {}
local place = 0
local step = 1
local threads = 0

function setup(thread)
  thread:set("offset", threads)
  threads = threads + 1
end

function init(args)
  for line in io.lines(args[1]) do
    local path, key, body, known = line:match("([^\t]+)\t([^\t]+)\t?([^\t]*)\t?([^\t]*)")
    local headers = { ["Authorization"] = "Bearer " .. key }
    local method = "GET"
    if body ~= "" then
      method = "PATCH"
      headers["Content-Type"] = "application/json"
    else
      body = nil
    end
    if args[4] == "browser" then
      headers["Accept-Encoding"] = "gzip, deflate, br"
    end
    if known ~= "" then
      headers["If-None-Match"] = known
    end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  place = offset
  step = tonumber(args[2])
  local pause = tonumber(args[3])
  if pause > 0 then
    function delay()
      return pause
    end
  end
end

function request()
  place = place + step
  return requests[place % #requests + 1]
end

-- Any unsuccessful response spoils the figure, so errors are counted and printed.
function done(summary, latency, _)
  io.write(string.format("RESULT %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
