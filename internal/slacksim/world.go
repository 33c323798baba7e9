package slacksim

import (
	"slices"
	"strings"
)

// The IDs of the workspace, of the other organisation on Slack Connect, and of the app.
const (
	TeamID         = "T0SIM0001"
	TeamDomain     = "sim"
	ExternalTeamID = "T0EXT0001"
	AppID          = "A0APP00001"
	BotID          = "B0BOT00001"
	BotUserID      = "U0BOT00001"
)

// verificationToken stands in every payload, as Slack's deprecated token does.
const verificationToken = "sim-verification-token"

// User is what Slack knows of a person or a bot.
type User struct {
	ID              string
	Name            string
	RealName        string
	TeamID          string
	Bot             bool
	Restricted      bool // a guest in several channels
	UltraRestricted bool // a guest in one channel
	Stranger        bool // of another organisation, met through Slack Connect
	Deleted         bool // deactivated
}

// Channel is a conversation. Members holds user IDs.
type Channel struct {
	ID       string
	Name     string
	Private  bool
	DM       bool
	Archived bool
	Shared   bool // with another organisation
	Members  []string
}

func (c *Channel) has(user string) bool { return slices.Contains(c.Members, user) }

// Group is a user group. Members holds user IDs.
type Group struct {
	ID       string
	Handle   string
	Name     string // the handle if empty
	Disabled bool
	Members  []string
}

// populate makes the people, channels and groups that every workspace starts with.
func (s *Server) populate() {
	for _, u := range []User{
		{ID: BotUserID, Name: "countersign", RealName: "Countersign", Bot: true},
		{ID: "U0ALICE001", Name: "alice", RealName: "Alice Archer"},
		{ID: "U0BOB00001", Name: "bob", RealName: "Bob Baker"},
		{ID: "U0CAROL001", Name: "carol", RealName: "Carol Cooper"},
		{ID: "U0DAVE0001", Name: "dave", RealName: "Dave Dawson"},
		{ID: "U0ERIN0001", Name: "erin", RealName: "Erin Ellis"},
		{ID: "U0FRANK001", Name: "frank", RealName: "Frank Foster"},
		{ID: "U0GUEST001", Name: "guest", RealName: "Gus Guest", Restricted: true},
		{ID: "U0EXTERN01", Name: "external", RealName: "Erin External", TeamID: ExternalTeamID, Stranger: true},
		{ID: "U0FORMER01", Name: "former", RealName: "Fred Former", Deleted: true},
		{ID: "U0ROBOT001", Name: "robot", RealName: "Another App", Bot: true},
	} {
		s.AddPerson(u)
	}
	for _, c := range []Channel{
		{ID: "C0GENERAL1", Name: "general", Members: []string{BotUserID, "alice", "bob", "carol", "guest", "former", "robot", "dave", "erin", "frank"}},
		{ID: "C0OPS00001", Name: "ops", Members: []string{BotUserID, "alice", "bob", "carol"}},
		{ID: "C0LEADS001", Name: "leads", Private: true, Members: []string{BotUserID, "alice", "bob"}},
		{ID: "C0PARTNER1", Name: "partners", Shared: true, Members: []string{BotUserID, "alice", "bob", "carol", "external"}},
		{ID: "C0RANDOM01", Name: "random", Members: []string{"alice", "bob", "carol"}},
	} {
		s.AddChannel(c)
	}
	s.AddGroup(Group{ID: "S0SRE00001", Handle: "sre", Name: "Site Reliability", Members: []string{"bob", "carol"}})
	s.AddGroup(Group{ID: "S0SECURITY", Handle: "security", Name: "Security", Members: []string{"carol", "erin"}})
}

// AddPerson adds u, or replaces the user with u's name, and returns its handle.
// Without an ID it gets one; without a team it belongs to the workspace.
func (s *Server) AddPerson(u User) Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	setDefault(&u.TeamID, TeamID)
	setDefault(&u.RealName, u.Name)
	if old := s.user(u.Name); old != nil {
		setDefault(&u.ID, old.ID)
		*old = u
	} else {
		if u.ID == "" {
			u.ID = s.newID("U")
		}
		s.users = append(s.users, &u)
	}
	s.touch()
	return Person{sim: s, id: u.ID}
}

// AddChannel adds c, or replaces the channel with c's name, and returns it. Members may be names;
// unknown ones are left out. Without an ID it gets one.
func (s *Server) AddChannel(c Channel) Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Members = s.userIDs(c.Members)
	if old := s.channel(c.Name); old != nil {
		setDefault(&c.ID, old.ID)
		*old = c
	} else {
		if c.ID == "" {
			c.ID = s.newID("C")
		}
		s.channels = append(s.channels, &c)
	}
	s.touch()
	c.Members = slices.Clone(c.Members)
	return c
}

// AddGroup adds g, or replaces the group with g's handle, and returns it. Members may be names;
// unknown ones are left out. Without an ID it gets one.
func (s *Server) AddGroup(g Group) Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.Members = s.userIDs(g.Members)
	setDefault(&g.Name, g.Handle)
	i := slices.IndexFunc(s.groups, func(old *Group) bool { return old.Handle == g.Handle })
	if i >= 0 {
		setDefault(&g.ID, s.groups[i].ID)
		s.groups[i] = &g
	} else {
		if g.ID == "" {
			g.ID = s.newID("S")
		}
		s.groups = append(s.groups, &g)
	}
	s.touch()
	return g
}

// Archive archives the channel.
func (s *Server) Archive(channel string) { s.edit(channel, func(c *Channel) { c.Archived = true }) }

// Join makes a user a member of the channel: a name, or BotUserID for the app.
func (s *Server) Join(channel, user string) {
	s.edit(channel, func(c *Channel) {
		if u := s.user(user); u != nil && !c.has(u.ID) {
			c.Members = append(slices.Clone(c.Members), u.ID)
		}
	})
}

// Leave ends a user's membership of the channel: a name, or BotUserID for the app.
func (s *Server) Leave(channel, user string) {
	s.edit(channel, func(c *Channel) {
		if u := s.user(user); u != nil {
			c.Members = slices.DeleteFunc(slices.Clone(c.Members), func(id string) bool { return id == u.ID })
		}
	})
}

// Deactivate deactivates a user.
func (s *Server) Deactivate(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.user(user); u != nil {
		u.Deleted = true
		s.touch()
	}
}

func (s *Server) edit(channel string, change func(*Channel)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channel(channel); c != nil {
		change(c)
		s.touch()
	}
}

// Channel returns the channel with that name or ID, or the zero Channel.
func (s *Server) Channel(channel string) Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channel(channel); c != nil {
		return *c
	}
	return Channel{}
}

// Group returns the user group with that handle or ID, or the zero Group.
func (s *Server) Group(group string) Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		if g.ID == group || g.Handle == strings.TrimPrefix(group, "@") {
			return *g
		}
	}
	return Group{}
}

// user finds a user by name or ID. The caller holds mu, here and below.
func (s *Server) user(user string) *User {
	user = strings.TrimPrefix(user, "@")
	for _, u := range s.users {
		if user != "" && (u.ID == user || u.Name == user) {
			return u
		}
	}
	return nil
}

func (s *Server) userIDs(users []string) []string {
	ids := make([]string, 0, len(users))
	for _, user := range users {
		if u := s.user(user); u != nil {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

// channel finds a channel by name or ID.
func (s *Server) channel(channel string) *Channel {
	channel = strings.TrimPrefix(channel, "#")
	for _, c := range s.channels {
		if channel != "" && (c.ID == channel || c.Name == channel) {
			return c
		}
	}
	return nil
}

// dm opens the direct message channel between the app and a user.
func (s *Server) dm(user string) *Channel {
	for _, c := range s.channels {
		if c.DM && c.has(user) {
			return c
		}
	}
	c := &Channel{ID: s.newID("D"), DM: true, Members: []string{BotUserID, user}}
	s.channels = append(s.channels, c)
	s.touch()
	return c
}
