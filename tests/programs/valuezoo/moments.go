package main

import (
	"time"
	_ "time/tzdata"
)

type event struct {
	At   time.Time
	Took time.Duration
}

func moments() {
	base := time.Date(2024, 2, 29, 12, 34, 56, 789000001, time.UTC)
	add("time.Time", base)
	add("zero time", time.Time{})
	add("time without fraction", time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC))
	add("time before 1", time.Date(-50, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(-50, 3, 1, 0, 0, 0, 0, time.UTC).String())
	add("time after 9999", time.Date(12345, 6, 7, 8, 9, 10, 0, time.UTC))
	add("time now", time.Now())
	add("time in zone", base.In(time.FixedZone("CEST", 2*3600)))
	add("time in nameless zone", base.In(time.FixedZone("", -(3*3600+30*60))))
	add("local time", base.Local())
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "Africa/Casablanca"} {
		location, err := time.LoadLocation(name)
		if err != nil {
			panic(err)
		}
		times := []time.Time{
			time.Date(1, 1, 1, 0, 0, 0, 0, location), time.Date(1900, 1, 1, 0, 0, 0, 0, location),
		}
		for year := 1980; year < 2110; year += 13 {
			for month := time.January; month <= time.December; month += 3 {
				times = append(times, time.Date(year, month, 30, 1, 2, 3, 0, location))
			}
		}
		add("times in "+name, times)
	}
	var years []time.Time
	for year := 1; year < 3000; year += 97 {
		years = append(years, time.Date(year, time.Month(year%12+1), year%28+1, year%24, year%60, 0, year, time.UTC))
	}
	add("times of many years", years)
	add("all kinds of durations", []time.Duration{0, 1, 999, 1000, 1500, 999999, 1e6, 1.5e9, 6e10, 3.6e12, 90061e9, -1500, 1<<63 - 1, -1 << 63})
	add("duration", 1500*time.Microsecond)
	add("event", event{base, 1500 * time.Millisecond})
	add("event pointer", &event{base, -1})
	add("times", []time.Time{base})
	add("durations", []time.Duration{1, time.Hour})
	add("duration map", map[string]time.Duration{"a": time.Second})
	add("weekday", time.Tuesday, "Tuesday")
	add("month", time.March, "March")
}
