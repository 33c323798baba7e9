package slacksim

import (
	"encoding/json"
	"maps"
	"time"
)

// View is a modal or an App Home tab as it stands, a copy that does not follow later changes.
type View struct {
	ID              string
	User            string // ID of who sees it
	Type            string // modal or home
	CallbackID      string
	ExternalID      string
	Title           string
	Submit          string
	Close           string
	PrivateMetadata string
	Hash            string
	RootID          string
	PreviousID      string
	Blocks          []Block
	NotifyOnClose   bool
	ClearOnClose    bool

	// Errors are shown beside inputs, by block ID. Error is shown on the modal itself.
	Errors map[string]string
	Error  string
}

// PlainText returns the text of all blocks, as Message.PlainText does.
func (v View) PlainText() string { return plainText(v.Blocks) }

// Buttons returns the buttons among the view's blocks, in order.
func (v View) Buttons() []Button { return buttons(v.Blocks) }

// Button returns the button named by an action ID, or by block ID, slash, action ID.
func (v View) Button(action string) (Button, bool) { return findButton(v.Blocks, action) }

// Options returns what can be chosen in the view's element of that action ID, or block ID, slash, action ID.
func (v View) Options(action string) []Option { return findOptions(v.Blocks, action) }

// trigger is the right to open a modal for a user: for 3 s, once.
// See https://docs.slack.dev/interactivity/handling-user-interaction/#modal_responses.
type trigger struct {
	user    string
	created time.Time
	used    bool
}

const triggerLife = 3 * time.Second

// newTrigger returns a trigger ID. The caller holds mu, here and below.
func (s *Server) newTrigger(user string) string {
	id := formatTS(s.now().UnixMicro()) + "." + secret()
	s.triggers[id] = &trigger{user: user, created: s.now()}
	return id
}

// viewsOpen opens a modal for the person behind a trigger.
// See https://docs.slack.dev/reference/methods/views.open.
func (s *Server) viewsOpen(a Args) (reply, error) {
	t := s.triggers[a.String("trigger_id")]
	switch {
	case t == nil:
		return nil, &apiError{code: "invalid_trigger_id"}
	case t.used:
		return nil, &apiError{code: "exchanged_trigger_id"}
	case s.now().Sub(t.created) > triggerLife:
		return nil, &apiError{code: "expired_trigger_id"}
	}
	v, err := s.readView(a["view"], "modal")
	if err != nil {
		return nil, err
	}
	t.used = true
	v.User = t.user
	s.push(v, nil)
	return reply{"view": wireView(v)}, nil
}

// viewsUpdate replaces an open view, by view_id or external_id.
// See https://docs.slack.dev/reference/methods/views.update.
func (s *Server) viewsUpdate(a Args) (reply, error) {
	old := s.view(func(v *View) bool {
		return v.ID == a.String("view_id") || a.String("external_id") != "" && v.ExternalID == a.String("external_id")
	})
	if old == nil {
		return nil, &apiError{code: "not_found"}
	}
	if hash := a.String("hash"); hash != "" && hash != old.Hash {
		return nil, &apiError{code: "hash_conflict"}
	}
	v, err := s.readView(a["view"], old.Type)
	if err != nil {
		return nil, err
	}
	s.replace(old, v)
	return reply{"view": wireView(old)}, nil
}

// viewsPublish sets a person's App Home tab.
// See https://docs.slack.dev/reference/methods/views.publish.
func (s *Server) viewsPublish(a Args) (reply, error) {
	u := s.user(a.String("user_id"))
	if u == nil || u.ID != a.String("user_id") || u.Deleted || u.Bot {
		return nil, &apiError{code: "invalid_arguments", messages: []string{"[ERROR] user not found [json-pointer:/user_id]"}}
	}
	old := s.homes[u.ID]
	if hash := a.String("hash"); hash != "" && (old == nil || hash != old.Hash) {
		return nil, &apiError{code: "hash_conflict"}
	}
	v, err := s.readView(a["view"], "home")
	if err != nil {
		return nil, err
	}
	if old == nil {
		old = &View{ID: s.newID("V"), User: u.ID}
		old.RootID = old.ID
		s.homes[u.ID] = old
	}
	s.replace(old, v)
	return reply{"view": wireView(old)}, nil
}

// push puts v on top of the modals of its user: over below, or alone.
func (s *Server) push(v, below *View) {
	v.ID = s.newID("V")
	v.RootID = v.ID
	v.Hash = s.newHash()
	if below == nil {
		s.modals[v.User] = nil
	} else {
		v.RootID, v.PreviousID = below.RootID, below.ID
	}
	s.modals[v.User] = append(s.modals[v.User], v)
	s.touch()
}

// replace gives old the content of v.
func (s *Server) replace(old, v *View) {
	v.ID, v.User, v.RootID, v.PreviousID = old.ID, old.User, old.RootID, old.PreviousID
	v.Hash = s.newHash()
	*old = *v
	s.touch()
}

func (s *Server) newHash() string {
	return formatTS(s.now().UnixMicro()) + "." + secret()[:8]
}

func (s *Server) view(match func(*View) bool) *View {
	for _, stack := range s.modals {
		for _, v := range stack {
			if match(v) {
				return v
			}
		}
	}
	for _, v := range s.homes {
		if match(v) {
			return v
		}
	}
	return nil
}

func copyView(v *View) View {
	c := *v
	c.Errors = maps.Clone(v.Errors)
	return c
}

// readView checks a view payload by Slack's rules.
// See https://docs.slack.dev/reference/views/modal-views and home-tab-views.
func (s *Server) readView(raw any, kind string) (*View, error) {
	object, ok := Args{"view": raw}.object("view")
	if !ok {
		return nil, &apiError{code: "invalid_arguments", messages: []string{"[ERROR] missing required field: view"}}
	}
	var b Block
	encoded := toJSON(object)
	if err := json.Unmarshal(encoded, &b); err != nil || len(encoded) > maxViewBytes {
		return nil, &apiError{code: "view_too_large"}
	}
	c := checker{view: true, blockIDs: map[string]bool{}}
	if b.str("type") != kind {
		c.problem("/view/type", "must be one of the allowed values: %s", kind)
	}
	inputs := false
	if kind == "modal" {
		c.text("/view", b, "title", maxViewTitle, true)
		c.optionalText("/view", b, "submit", maxViewTitle)
		c.optionalText("/view", b, "close", maxViewTitle)
	}
	c.optional("/view", b, "callback_id", maxID)
	c.optional("/view", b, "external_id", maxID)
	c.optional("/view", b, "private_metadata", maxPrivateMetadata)
	items, ok := b["blocks"].([]any)
	if !ok {
		c.problem("/view", "missing required field: blocks")
	}
	blocks := c.blocks("/view/blocks", items, maxViewBlocks, s)
	for _, block := range blocks {
		inputs = inputs || block.str("type") == "input"
	}
	if inputs && kind == "modal" && b.object("submit") == nil {
		c.problem("/view", "missing required field: submit")
	}
	if len(c.problems) > 0 {
		return nil, &apiError{code: "invalid_arguments", messages: c.problems}
	}
	notify, _ := b["notify_on_close"].(bool)
	clearing, _ := b["clear_on_close"].(bool)
	return &View{
		Type:            kind,
		CallbackID:      b.str("callback_id"),
		ExternalID:      b.str("external_id"),
		Title:           b.object("title").str("text"),
		Submit:          b.object("submit").str("text"),
		Close:           b.object("close").str("text"),
		PrivateMetadata: b.str("private_metadata"),
		Blocks:          blocks,
		NotifyOnClose:   notify,
		ClearOnClose:    clearing,
	}, nil
}

// homeTitle is what Slack calls every Home tab, which has no title of its own: Bolt declares that each view has one.
const homeTitle = "View Title"

// wireView is the view as Slack's API and payloads have it.
func wireView(v *View) map[string]any {
	w := map[string]any{
		"id": v.ID, "team_id": TeamID, "type": v.Type, "blocks": v.Blocks,
		"private_metadata": v.PrivateMetadata, "callback_id": v.CallbackID, "external_id": v.ExternalID,
		"state": map[string]any{"values": map[string]any{}}, "hash": v.Hash,
		"clear_on_close": v.ClearOnClose, "notify_on_close": v.NotifyOnClose,
		"title": nil, "submit": nil, "close": nil, "root_view_id": v.RootID, "previous_view_id": nil,
		"app_id": AppID, "bot_id": BotID, "app_installed_team_id": TeamID,
	}
	title := v.Title
	if v.Type == "home" {
		title = homeTitle
	}
	for key, text := range map[string]string{"title": title, "submit": v.Submit, "close": v.Close} {
		if text != "" {
			w[key] = map[string]any{"type": "plain_text", "text": text, "emoji": true}
		}
	}
	if v.PreviousID != "" {
		w["previous_view_id"] = v.PreviousID
	}
	return w
}
